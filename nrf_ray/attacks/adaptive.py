"""An adaptive attack: a function of the user's who knows how a defence works (Tramer et al. 2020, arXiv 2002.08347).

`run_function` runs it; here is what its images say, and how it stands beside an attack that does not know the defence.
"""

from dataclasses import replace

from torch import Tensor, nn

from nrf_ray.attacks.comparison import beaten
from nrf_ray.attacks.functions import Function
from nrf_ray.attacks.run_function import run_function
from nrf_ray.attacks.subject import Check
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.engine.predict import predict


def run_adaptive(
    attack: Function, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, *, seed: int
) -> Check:
    """Return the check `adaptive` of what `attack` finds for `images` [n, c, h, w], a batch at a time.

    It is FAIL if an image is not finite, outside the box or outside the ball; such an image fools nobody, whatever the
    model says. Raises ConfigError if a batch does not come back as images of its shape.
    """
    found, n = run_function(attack, model, images, labels, threat, seed=seed), max(len(images), 1)
    fooled = (found.inside & (predict(model, found.images) != labels)).cpu()
    numbers = {"fooled": int(fooled.sum()) / n, "outside": int((~found.inside).sum()) / n}
    return Check(verdict="PASS" if found.inside.all() else "FAIL", numbers=numbers, fooled=fooled)


def beside(check: Check, rival: Tensor) -> Check:
    """Return the check `adaptive` beside an attack that fooled `rival` [n], booleans, without knowing the model.

    It is WARN if that attack beats the adaptive one (see `comparison`): one that knows the model should miss nothing.
    """
    assert check.fooled is not None, "run_adaptive gives it"
    missed, n = int((rival & ~check.fooled).sum()), max(len(rival), 1)
    verdict = "WARN" if check.verdict == "PASS" and beaten(missed, n) != "PASS" else check.verdict
    return replace(check, verdict=verdict, numbers={**check.numbers, "missed": missed / n})
