"""Attacks by the names that flags take: attacks that models are tested with, and attacks to train against."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from nrf_ray.attacks.functions import FUNCTIONS, AttackFunction, Function
from nrf_ray.attacks.losses import ALTERNATING
from nrf_ray.attacks.specs import Attack, AutoAttack, FunctionAttack, InBall, fgsm, fgsm_rs, n_fgsm, pgd_attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.engine.mode import Mode
from nrf_ray.errors import ConfigError, Registry

ATTACKS: Registry[Callable[[Attack], InBall]] = Registry("attack")
"""Untargeted attacks on trained models, cheap ones first: functions from the preset's PGD, whose threat model and mode
they keep, to the attack. Cross-entropy can stall between equally likely wrong classes; the margin does not, so
pgd-50x10 takes both in turn, and the margins of the next likeliest classes (`losses.ALTERNATING`). With two classes the
gradients of all have the same direction. AutoAttack has no fast mode; few-classes replaces it for models of two or
three classes."""

ADVERSARIES: Registry[Callable[[ThreatModel], Attack]] = Registry("adversary")
"""Attacks that a sweep can train against: the paper's, and two cheap attacks of a single step."""


@ATTACKS.register("pgd")
def _pgd(pgd: Attack) -> Attack:
    return pgd


@ATTACKS.register("pgd-margin")
def _pgd_margin(pgd: Attack) -> Attack:
    return replace(pgd, loss="margin")


@ATTACKS.register("fgsm")
def _fgsm(pgd: Attack) -> Attack:
    return fgsm(pgd.threat.norm, pgd.threat.eps, mode=pgd.mode)


@ATTACKS.register("pgd-50x10")
def _pgd_50x10(pgd: Attack) -> Attack:
    return strong_pgd(pgd.threat, pgd.mode)


@ATTACKS.register("apgd")
def _apgd(pgd: Attack) -> AutoAttack:
    return AutoAttack(threat=pgd.threat, version="apgd")


@ATTACKS.register("autoattack")
def _autoattack(pgd: Attack) -> AutoAttack:
    return AutoAttack(threat=pgd.threat)


@ATTACKS.register("few-classes")
def _few_classes(pgd: Attack) -> AutoAttack:
    return AutoAttack(threat=pgd.threat, version="few-classes")


@ADVERSARIES.register("pgd-7")
def _pgd_7(threat: ThreatModel) -> Attack:
    return Attack(threat=threat, steps=7, step_size=threat.eps / 5)


@ADVERSARIES.register("fgsm-rs")
def _fgsm_rs(threat: ThreatModel) -> Attack:
    return fgsm_rs(threat.norm, threat.eps)


@ADVERSARIES.register("n-fgsm")
def _n_fgsm(threat: ThreatModel) -> Attack:
    return n_fgsm(threat.norm, threat.eps)


def strong_pgd(threat: ThreatModel, mode: Mode = "faithful") -> Attack:
    """Return the strongest PGD that has a name, `pgd-50x10`."""
    return pgd_attack(threat.norm, threat.eps, steps=50, restarts=10, loss=ALTERNATING, mode=mode)


def attack_function(name: str, *, passes: int = 100) -> Callable[[Function], Function]:
    """Return a decorator that registers a function of one's own as the attack `name`.

    `passes` is the number of forward and backward passes per image, at most, for estimates and tables.
    """
    if passes < 1:
        raise ConfigError(f"the attack {name} needs passes >= 1, not {passes}")

    def register(function: Function) -> Function:
        ATTACKS.register(name)(partial(_own, name))
        FUNCTIONS.register(name)(AttackFunction(run=function, passes=passes))
        return function

    return register


def _own(name: str, pgd: Attack) -> FunctionAttack:
    return FunctionAttack(threat=pgd.threat, function=name)


def attack_named(name: str, pgd: Attack) -> InBall:
    """Return the untargeted attack `name` in threat model and mode of `pgd`, whose steps pgd and pgd-margin take."""
    return ATTACKS.named(name)(pgd)


def adversary_named(name: str, threat: ThreatModel) -> Attack:
    """Return the attack `name` to train against within `threat`."""
    return ADVERSARIES.named(name)(threat)
