"""Robust accuracy: the share of images that are still classified correctly after one named attack.

Results are shares in [0, 1] of a stated number of examples. A robust accuracy is an upper bound found by one named
attack; it is always reported with that attack, its radius and n.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nrf_ray.attacks.adaptive import beside, run_adaptive
from nrf_ray.attacks.autoattack import run_autoattack
from nrf_ray.attacks.comparison import beaten
from nrf_ray.attacks.functions import FUNCTIONS
from nrf_ray.attacks.hotflip import Lexicon
from nrf_ray.attacks.run import run_attack
from nrf_ray.attacks.specs import AnyAttack, AutoAttack, FunctionAttack, pgd_attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.attacks.trust import ADAPTIVE, GAP_STEPS, Verdict
from nrf_ray.data.images import LabelledImages
from nrf_ray.engine.predict import predict
from nrf_ray.graph import headway

GAP = 0.06
"""Robust accuracy by which PGD may exceed AutoAttack; more suggests obfuscated gradients (catastrophic overfitting)."""


def robust_accuracy(
    model: nn.Module,
    data: LabelledImages,
    attack: AnyAttack,
    *,
    seed: int = 0,
    words: Lexicon | None = None,
) -> float:
    """Return the share of `data` classified correctly both clean and after every restart of the untargeted `attack`.

    Only examples that are classified correctly when clean are attacked. The others count as wrong already, so leaving
    them out is exact.
    """
    right = right_when_clean(model, data)
    if len(right) == 0:
        return 0.0
    attacked = data.rows(right)
    adversarial = run_attack(attack, model, attacked.images, attacked.labels, seed=seed, indices=right, words=words)
    return int((predict(model, adversarial) == attacked.labels).sum()) / len(data)


@dataclass(frozen=True, kw_only=True)
class AgainstAutoAttack:
    """Robust accuracy under AutoAttack, and what tells whether gradients misled it."""

    robust_accuracy: float
    """Share of the images that stay correctly classified under AutoAttack."""
    under_pgd: float
    """The same under PGD with `GAP_STEPS` steps."""
    missed: float
    """Share of the images that PGD fooled and AutoAttack did not."""
    by_square: float
    """Share of the images that Square alone fooled: no attack by gradients did."""
    left: Tensor
    """[n], booleans on the CPU: the images that stay correctly classified under AutoAttack."""

    @property
    def shares(self) -> dict[str, float]:
        """The four numbers, by name."""
        names = ("robust_accuracy", "under_pgd", "missed", "by_square")
        return {name: getattr(self, name) for name in names}

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """The checks `gap` and `square`."""
        n = len(self.left)
        misled = beaten(round(self.missed * n), n)
        return {
            "gap": "WARN" if misled == "PASS" and self.under_pgd - self.robust_accuracy > GAP else misled,
            "square": "WARN" if self.by_square > 0 else "PASS",
        }


def against_autoattack(
    model: nn.Module, data: LabelledImages, attack: AutoAttack, *, seed: int = 0
) -> AgainstAutoAttack:
    """Run AutoAttack and PGD on the same images of `data`, n >= 1."""
    right = right_when_clean(model, data)
    attacked, n, threat = data.rows(right), len(data), attack.threat
    left = torch.zeros(n, dtype=torch.bool)
    if len(right) == 0:
        return AgainstAutoAttack(robust_accuracy=0.0, under_pgd=0.0, missed=0.0, by_square=0.0, left=left)
    with headway.loop(2, "attacks") as attacks:
        found = run_autoattack(attack, model, attacked.floats(), attacked.labels, seed=seed)
        attacks.advance()
        left[right.cpu()] = (predict(model, found.images) == attacked.labels).cpu()
        fooled = _fooled_by_pgd(model, attacked, threat, right, seed)
    return AgainstAutoAttack(
        robust_accuracy=int(left.sum()) / n,
        under_pgd=int((~fooled).sum()) / n,
        missed=int((left[right.cpu()] & fooled).sum()) / n,
        by_square=int(found.by_square.sum()) / n,
        left=left,
    )


@dataclass(frozen=True, kw_only=True)
class AgainstFunction:
    """Robust accuracy under an attack of one's own, beside PGD on the same images."""

    robust_accuracy: float
    """Share of the images that stay correctly classified; an image that breaks the rules fools nobody."""
    under_pgd: float
    """The same under PGD with `GAP_STEPS` steps."""
    outside: float
    """Share of the images that the function returned outside ball or box, or not finite."""
    verdict: Verdict
    """Verdict of the check `adaptive`."""

    @property
    def shares(self) -> dict[str, float]:
        """The three numbers, by name."""
        return {"robust_accuracy": self.robust_accuracy, "under_pgd": self.under_pgd, "outside": self.outside}

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """The check `adaptive`."""
        return {ADAPTIVE: self.verdict}


def against(
    model: nn.Module, data: LabelledImages, attack: AutoAttack | FunctionAttack, *, seed: int = 0
) -> AgainstAutoAttack | AgainstFunction:
    """Run `attack` and PGD on the same images of `data`, n >= 1."""
    if isinstance(attack, AutoAttack):
        return against_autoattack(model, data, attack, seed=seed)
    return against_function(model, data, attack, seed=seed)


def against_function(
    model: nn.Module, data: LabelledImages, attack: FunctionAttack, *, seed: int = 0
) -> AgainstFunction:
    """Run an attack of one's own and PGD on the same images of `data`, n >= 1."""
    right = right_when_clean(model, data)
    attacked, n = data.rows(right), len(data)
    if len(right) == 0:
        return AgainstFunction(robust_accuracy=0.0, under_pgd=0.0, outside=0.0, verdict="WARN")
    function = FUNCTIONS.named(attack.function).run
    with headway.loop(2, "attacks") as attacks:
        check = run_adaptive(function, model, attacked.floats(), attacked.labels, attack.threat, seed=seed)
        attacks.advance()
        by_pgd = _fooled_by_pgd(model, attacked, attack.threat, right, seed)
    check = beside(check, by_pgd)
    assert check.fooled is not None, "run_adaptive gives it"
    return AgainstFunction(
        robust_accuracy=int((~check.fooled).sum()) / n,
        under_pgd=int((~by_pgd).sum()) / n,
        outside=check.numbers["outside"] * len(right) / n,
        verdict=check.verdict,
    )


def _fooled_by_pgd(
    model: nn.Module, attacked: LabelledImages, threat: ThreatModel, indices: Tensor, seed: int
) -> Tensor:
    """Return which of the images `attacked` [m], with these `indices` in their data, PGD fools, on the CPU."""
    pgd = pgd_attack(threat.norm, threat.eps, steps=GAP_STEPS)
    found = run_attack(pgd, model, attacked.images, attacked.labels, seed=seed, indices=indices)
    return (predict(model, found) != attacked.labels).cpu()


def right_when_clean(model: nn.Module, data: LabelledImages) -> Tensor:
    """Return the indices of the images whose label `model` predicts, as [m]."""
    return (predict(model, data.images) == data.labels).nonzero().squeeze(1)
