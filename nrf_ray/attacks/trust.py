"""Trust in a robust accuracy: verdicts of named attack checks, and the trust level that follows from them.

A robust accuracy is an upper bound. The level says how strong the attacks were that tried to lower it; the checks say
whether the attack worked at all on this model (Carlini et al. 2019; Pintor et al. 2022). Nothing here needs torch;
`checks` runs the checks.
"""

from collections.abc import Mapping
from typing import Literal

from nrf_ray.attacks.specs import Attack, AutoAttack, Substitution

Verdict = Literal["PASS", "WARN", "FAIL"]
Level = Literal["L0", "L1", "L2", "L3"]

LEVELS: dict[Level, str] = {
    "L0": "a single attack, or one whose checks did not all pass",
    "L1": "PGD with 50 steps and 10 restarts or more, and every check passed",
    "L2": "APGD-CE and APGD-T, and no check failed",
    "L3": "the whole of AutoAttack, and no check failed",
}
"""Meaning of each trust level."""

CHECKS: dict[str, str] = {
    "logits": "the output is not a probability distribution, which would flatten the loss",
    "repeatable": "five passes over the same images agree",
    "gradients": "no gradient is zero or not finite",
    "loss-rises": "the attack ends at a higher loss than it began",
    "more-steps": "twice the steps fool hardly any image more",
    "restarts": "random restarts fool hardly any image more",
    "one-step": "one step (FGSM) is weaker than the attack",
    "noise": "random noise of the same size is weaker than the attack",
    "monotone": "a larger radius never leaves more images correctly classified",
    "large-eps": "a radius that reaches the grey image leaves no more than chance",
    "last-iterate": "no image was fooled on the way and correctly classified again at the end",
}
"""Every check, with the statement that is true if it passes."""


def checks_text(verdicts: Mapping[str, Verdict]) -> str:
    """Return verdicts as one short text, as in "logits:PASS noise:FAIL"."""
    return " ".join(f"{name}:{verdict}" for name, verdict in verdicts.items())


def read_checks(text: str) -> dict[str, str]:
    """Return the verdicts that `checks_text` wrote, by name of the check; empty for an empty text."""
    return dict(part.rsplit(":", 1) for part in text.split())


def trust_level(attack: Attack | AutoAttack | Substitution, checks: str | None) -> Level:
    """Return the trust level of a robust accuracy from its attack and its checks' text (None: no checks were made)."""
    verdicts = read_checks(checks or "")
    if "FAIL" in verdicts.values():
        return "L0"
    if isinstance(attack, AutoAttack):
        return "L3" if attack.version == "standard" else "L2"
    strong = attack.steps >= 50 and attack.restarts >= 10
    all_passed = set(verdicts) == set(CHECKS) and set(verdicts.values()) == {"PASS"}
    return "L1" if strong and all_passed else "L0"
