"""Trust in a robust accuracy: verdicts of named attack checks, and the trust level that follows from them.

A robust accuracy is an upper bound. The level says how strong the attacks were that tried to lower it; the checks say
whether the attack worked at all on this model (Carlini et al. 2019; Pintor et al. 2022). Nothing here needs torch;
`checks` runs the checks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nrf_ray.attacks.specs import AnyAttack, Attack, AutoAttack, FunctionAttack, InBall, Substitution

Verdict = Literal["PASS", "WARN", "FAIL"]
Level = Literal["L0", "L1", "L2", "L3", "L4"]
Battery = Literal["cheap", "required", "full"]
"""Checks of a single attack; those without which there is no trust level; all of them."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A mean over the checked images, against the effort or the radius of an attack."""

    quantity: str
    """What is averaged: accuracy (the share that is still classified correctly), margin or cross-entropy."""
    over: str
    """What it is plotted against: step, query or radius."""
    points: tuple[tuple[float, float], ...]
    """Pairs (x, y): `over`, ascending, and `quantity`; every number is finite."""


ENOUGH = 100
"""Least number of images on which checks can earn a trust level."""

LEVELS: dict[Level, str] = {
    "L0": f"a single attack, or checks that did not all pass, or were made on fewer than {ENOUGH} images",
    "L1": "PGD with 50 steps and 10 restarts or more; every check passed, random search and transfer among them; only "
    "more of the same attack (more-steps, restarts, other-loss) may have fooled a few images more",
    "L2": "APGD-CE and APGD-T, or, for 2 or 3 classes, APGD-CE, margin PGD and Square (apgd-ce+margin+square); no "
    "check failed, a surrogate and the binarization test among them",
    "L3": "the whole of AutoAttack; no check failed, a surrogate and the binarization test among them",
    "L4": "the least of AutoAttack, all transfers and an adaptive attack that the user names, image by image; no check "
    "failed",
}
"""Meaning of each trust level."""

CHECKS: dict[str, str] = {
    "images": f"the checks are made on {ENOUGH} images or more",
    "logits": "the output is not a probability distribution, which would flatten the loss",
    "repeatable": "five passes over the same images agree",
    "gradients": "no gradient is zero or not finite",
    "slope": "the margin changes along its gradient as the gradient says",
    "clamp": "pixels at 0 and 1 have a gradient as often as others",
    "inside": "the images that the attack found are finite, in the box and in the ball",
    "loss-rises": "the attack ends at a higher margin of a wrong class than it began",
    "more-steps": "twice the steps fool hardly any image more",
    "restarts": "random restarts fool hardly any image more",
    "other-loss": "the same attack by another loss (margin or cross-entropy) fools hardly any image more",
    "one-step": "one step (FGSM) fools hardly any image that the attack left",
    "noise": "random noise of the same size fools hardly any image that the attack left",
    "monotone": "half the radius fools hardly any image more, and twice the radius hardly any image fewer",
    "large-eps": "a radius that reaches the grey image leaves no more than chance",
    "last-iterate": "hardly any image was fooled on the way and correctly classified again at the end",
    "gap": "PGD leaves at most six points more than AutoAttack (or few-classes), and fools hardly any image more",
    "square": "Square, which follows no gradient, fools no image that the other attacks beside it left",
    "black-box": "random search, which follows no gradient, fools hardly any image that the attack left",
    "transfer": "adversarial images of other models (or of a surrogate) fool hardly any image that the attack left",
    "surrogate": "adversarial images of a network that learnt the model's answers fool hardly any image more",
    "binarization": "the attack finds images beyond a random readout's threshold, which are there by construction",
    "adaptive": "the images of the user's adaptive attack are finite, in the box and in the ball, and hardly any image "
    "that the other attack fooled withstands it",
}
"""Every check, with the statement that is true if it passes."""

BY_EFFORT = ("more-steps", "restarts", "other-loss")
"""Checks that compare the attack with itself at more effort, which fools a few images more of any model."""
BY_AUTOATTACK = ("gap", "square")
"""Checks that are made while AutoAttack runs, on its own images."""
GAP_STEPS = 20
"""Steps of the PGD that AutoAttack is compared with."""
ADAPTIVE = "adaptive"
"""Check that is made if the user names an adaptive attack."""
_FROM: dict[str, Battery] = {
    "black-box": "required",
    "transfer": "required",
    "surrogate": "full",
    "binarization": "full",
}
"""First battery of the checks that are not in all of them."""
_BATTERIES: tuple[Battery, ...] = ("cheap", "required", "full")


def checks_of(battery: Battery) -> list[str]:
    """Return the names of the checks of `battery`, in the order of `CHECKS`."""
    reach = _BATTERIES.index(battery)
    made = [name for name in CHECKS if name not in (*BY_AUTOATTACK, ADAPTIVE)]
    return [name for name in made if _BATTERIES.index(_FROM.get(name, "cheap")) <= reach]


def battery_for(attack: InBall) -> Battery:
    """Return the checks that a robust accuracy under `attack` needs for the level that it can earn."""
    if not isinstance(attack, Attack):
        return "full"
    return "required" if _is_strong(attack) else "cheap"


def checks_text(verdicts: Mapping[str, Verdict]) -> str:
    """Return verdicts as one short text, as in "logits:PASS noise:FAIL"."""
    return " ".join(f"{name}:{verdict}" for name, verdict in verdicts.items())


def read_checks(text: str) -> dict[str, str]:
    """Return the verdicts that `checks_text` wrote, by name of the check; empty for an empty text."""
    return dict(part.rsplit(":", 1) for part in text.split())


def row_checks(row: Mapping[Any, Any]) -> str:
    """Return all verdicts of a row of the table `robustness` as one text; empty if no checks were made."""
    texts = (row.get(name) for name in ("checks", "autoattack_checks"))
    return " ".join(text for text in texts if isinstance(text, str))


def trust_level(attack: AnyAttack, checks: str) -> Level:
    """Return the trust level of a robust accuracy from its attack and its checks' text, empty if there were none.

    A level above L0 needs every check of its battery, on `ENOUGH` images, and none that failed; L1 needs all to pass
    but those of `BY_EFFORT`, and L4 an adaptive attack that passes. An attack of one's own alone is a single attack, of
    unknown strength.
    """
    if isinstance(attack, Substitution | FunctionAttack):
        return "L0"
    verdicts = read_checks(checks)
    needed = {*checks_of(battery_for(attack)), *(BY_AUTOATTACK if isinstance(attack, AutoAttack) else ())}
    made = needed <= set(verdicts)
    if not made or "FAIL" in verdicts.values() or verdicts["images"] != "PASS":
        return "L0"
    if isinstance(attack, AutoAttack):
        return ("L4" if verdicts.get(ADAPTIVE) == "PASS" else "L3") if attack.version == "standard" else "L2"
    passed = all(verdict == "PASS" or name in BY_EFFORT for name, verdict in verdicts.items())
    return "L1" if _is_strong(attack) and passed else "L0"


def _is_strong(attack: Attack) -> bool:
    return attack.steps >= 50 and attack.restarts >= 10
