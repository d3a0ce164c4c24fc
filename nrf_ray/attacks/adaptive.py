"""An adaptive attack: a function of the user's who knows how a defence works (Tramer et al. 2020, arXiv 2002.08347).

Nothing that it returns is believed: its images count only if they keep the rules and fool the model itself.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from nrf_ray.attacks.comparison import beaten
from nrf_ray.attacks.pgd import attack_mode
from nrf_ray.attacks.subject import Check
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.engine.predict import batches, predict
from nrf_ray.errors import ConfigError

Adaptive = Callable[[nn.Module, Tensor, Tensor, ThreatModel, torch.Generator], object]
"""Function from a model, images [b, c, h, w] in [0, 1], their labels [b], the threat model and a generator of random
numbers to adversarial images [b, c, h, w]. The model is in eval mode and its parameters are frozen."""


def run_adaptive(
    attack: Adaptive, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, *, seed: int
) -> Check:
    """Return the check `adaptive` of what `attack` finds for `images` [n, c, h, w], a batch at a time.

    It is FAIL if an image is not finite, outside the box or outside the ball; such an image fools nobody, whatever the
    model says. Raises ConfigError if a batch does not come back as images of its shape.
    """
    generator = torch.Generator(images.device).manual_seed(seed)
    found, n = images.clone(), max(len(images), 1)
    with attack_mode(model):
        for rows in batches(len(images)):
            # Copies: what the function does to its arguments changes nothing here.
            made = attack(model, images[rows].clone(), labels[rows].clone(), threat, generator)
            found[rows] = _checked(made, images[rows])
    inside = threat.holds(found, images)
    fooled = (inside & (predict(model, found) != labels)).cpu()
    numbers = {"fooled": int(fooled.sum()) / n, "outside": int((~inside).sum()) / n}
    return Check(verdict="PASS" if inside.all() else "FAIL", numbers=numbers, fooled=fooled)


def beside(check: Check, rival: Tensor) -> Check:
    """Return the check `adaptive` beside an attack that fooled `rival` [n], booleans, without knowing the model.

    It is WARN if that attack beats the adaptive one (see `comparison`): one that knows the model should miss nothing.
    """
    assert check.fooled is not None, "run_adaptive gives it"
    missed, n = int((rival & ~check.fooled).sum()), max(len(rival), 1)
    verdict = "WARN" if check.verdict == "PASS" and beaten(missed, n) != "PASS" else check.verdict
    return replace(check, verdict=verdict, numbers={**check.numbers, "missed": missed / n})


def _checked(made: object, images: Tensor) -> Tensor:
    """Return what the function made of `images`, if it is images of the same shape."""
    if not isinstance(made, Tensor):
        raise ConfigError(f"the adaptive attack returned a {type(made).__name__}; it must return one tensor of images")
    if made.shape != images.shape or not made.is_floating_point():
        raise ConfigError(
            f"the adaptive attack returned {made.dtype} of shape {tuple(made.shape)} for images of shape "
            f"{tuple(images.shape)}; it must return floats of the same shape"
        )
    return made.detach().to(images)
