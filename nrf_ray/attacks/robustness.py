"""Robust accuracy: the share of images that are still classified correctly after one named attack.

Results are shares in [0, 1] of a stated number of examples. A robust accuracy is an upper bound found by one named
attack; it is always reported with that attack, its radius and n.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nrf_ray.attacks.autoattack import run_autoattack
from nrf_ray.attacks.comparison import beaten
from nrf_ray.attacks.hotflip import Lexicon
from nrf_ray.attacks.run import run_attack
from nrf_ray.attacks.specs import Attack, AutoAttack, Substitution, pgd_attack
from nrf_ray.attacks.trust import GAP_STEPS, Verdict
from nrf_ray.data.images import LabelledImages
from nrf_ray.engine.predict import predict

GAP = 0.06
"""Robust accuracy by which PGD may exceed AutoAttack; more suggests obfuscated gradients (catastrophic overfitting)."""


def robust_accuracy(
    model: nn.Module,
    data: LabelledImages,
    attack: Attack | AutoAttack | Substitution,
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
    found = run_autoattack(attack, model, attacked.floats(), attacked.labels, seed=seed)
    pgd = pgd_attack(threat.norm, threat.eps, steps=GAP_STEPS)
    by_pgd = run_attack(pgd, model, attacked.images, attacked.labels, seed=seed, indices=right)
    left[right.cpu()] = (predict(model, found.images) == attacked.labels).cpu()
    fooled = (predict(model, by_pgd) != attacked.labels).cpu()
    return AgainstAutoAttack(
        robust_accuracy=int(left.sum()) / n,
        under_pgd=int((~fooled).sum()) / n,
        missed=int((left[right.cpu()] & fooled).sum()) / n,
        by_square=int(found.by_square.sum()) / n,
        left=left,
    )


def right_when_clean(model: nn.Module, data: LabelledImages) -> Tensor:
    """Return the indices of the images whose label `model` predicts, as [m]."""
    return (predict(model, data.images) == data.labels).nonzero().squeeze(1)
