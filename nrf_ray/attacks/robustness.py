"""Robust accuracy: the share of images that are still classified correctly after one named attack.

Results are shares in [0, 1] of a stated number of examples. A robust accuracy is an upper bound found by one named
attack; it is always reported with that attack, its radius and n.
"""

from torch import Tensor, nn

from nrf_ray.attacks.hotflip import Lexicon
from nrf_ray.attacks.run import run_attack
from nrf_ray.attacks.specs import Attack, AutoAttack, Substitution
from nrf_ray.data.images import LabelledImages
from nrf_ray.engine.predict import predict


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


def right_when_clean(model: nn.Module, data: LabelledImages) -> Tensor:
    """Return the indices of the images whose label `model` predicts, as [m]."""
    return (predict(model, data.images) == data.labels).nonzero().squeeze(1)
