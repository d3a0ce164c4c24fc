"""Attacks by the names that flags take: attacks that models are tested with, and attacks to train against."""

from collections.abc import Callable

from nrf_ray.attacks.specs import Attack, AutoAttack, fgsm, fgsm_rs, n_fgsm, pgd_attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.engine.mode import Mode
from nrf_ray.errors import Registry

ATTACKS: Registry[Callable[[ThreatModel, int, Mode], Attack | AutoAttack]] = Registry("attack")
"""Untargeted attacks on trained models, cheap ones first: functions from a threat model, the preset's number of steps
and a mode to the attack. Cross-entropy can stall between equally likely wrong classes; the margin does not. With two
classes the gradients of both losses have the same direction. AutoAttack has no fast mode."""

ADVERSARIES: Registry[Callable[[ThreatModel], Attack]] = Registry("adversary")
"""Attacks that a sweep can train against: the paper's, and two cheap attacks of a single step."""


@ATTACKS.register("pgd")
def _pgd(threat: ThreatModel, steps: int, mode: Mode) -> Attack:
    return pgd_attack(threat.norm, threat.eps, steps=steps, mode=mode)


@ATTACKS.register("pgd-margin")
def _pgd_margin(threat: ThreatModel, steps: int, mode: Mode) -> Attack:
    return pgd_attack(threat.norm, threat.eps, steps=steps, loss="margin", mode=mode)


@ATTACKS.register("fgsm")
def _fgsm(threat: ThreatModel, steps: int, mode: Mode) -> Attack:
    return fgsm(threat.norm, threat.eps, mode=mode)


@ATTACKS.register("pgd-50x10")
def _pgd_50x10(threat: ThreatModel, steps: int, mode: Mode) -> Attack:
    return pgd_attack(threat.norm, threat.eps, steps=50, restarts=10, mode=mode)


@ATTACKS.register("apgd")
def _apgd(threat: ThreatModel, steps: int, mode: Mode) -> AutoAttack:
    return AutoAttack(threat=threat, version="apgd")


@ATTACKS.register("autoattack")
def _autoattack(threat: ThreatModel, steps: int, mode: Mode) -> AutoAttack:
    return AutoAttack(threat=threat)


@ADVERSARIES.register("pgd-7")
def _pgd_7(threat: ThreatModel) -> Attack:
    return Attack(threat=threat, steps=7, step_size=threat.eps / 5)


@ADVERSARIES.register("fgsm-rs")
def _fgsm_rs(threat: ThreatModel) -> Attack:
    return fgsm_rs(threat.norm, threat.eps)


@ADVERSARIES.register("n-fgsm")
def _n_fgsm(threat: ThreatModel) -> Attack:
    return n_fgsm(threat.norm, threat.eps)


def attack_named(name: str, threat: ThreatModel, steps: int, mode: Mode = "faithful") -> Attack | AutoAttack:
    """Return the untargeted attack `name` within `threat`; `steps` counts for "pgd" and "pgd-margin" only."""
    return ATTACKS.named(name)(threat, steps, mode)


def adversary_named(name: str, threat: ThreatModel) -> Attack:
    """Return the attack `name` to train against within `threat`."""
    return ADVERSARIES.named(name)(threat)
