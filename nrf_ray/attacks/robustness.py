"""Measure how robust a model is: adversarial images, robust accuracy.

Results are shares in [0, 1] of a stated number of examples. A robust accuracy is an upper bound found by one named
attack; it is always reported with that attack, its radius and n.
"""

import torch
from torch import Tensor, nn

from nrf_ray.attacks.autoattack import run_autoattack
from nrf_ray.attacks.hotflip import Lexicon, substitute
from nrf_ray.attacks.pgd import ExampleStarts, run_restarts
from nrf_ray.attacks.specs import Attack, AutoAttack, Substitution
from nrf_ray.data.images import LabelledImages, as_float
from nrf_ray.engine.predict import batches, predict
from nrf_ray.engine.twin import twin
from nrf_ray.errors import ConfigError


def adversarial_images(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    attack: Attack | AutoAttack | Substitution,
    *,
    seed: int = 0,
    indices: Tensor | None = None,
    words: Lexicon | None = None,
) -> Tensor:
    """Return adversarial images for all of `images`, found against `model`, as float32 in [0, 1].

    Random starts depend on `seed` and `indices` [n], the images' indices in their dataset; by default, their indices in
    `images`. A substitution chooses from `words`. Raises ConfigError for an attack whose result may be outside its
    threat model.
    """
    if isinstance(attack, Substitution):
        return _substituted(model, images, labels, attack, words)
    if isinstance(attack, AutoAttack):
        return run_autoattack(attack, model, as_float(images), labels, seed=seed)
    if attack.bounds != "ball":
        raise ConfigError(f"{attack.name} leaves the ball of radius {attack.threat.eps:g}: it is for training only")
    starts = ExampleStarts(seed=seed, indices=torch.arange(len(images)) if indices is None else indices.cpu())
    network = twin(model, as_float(images[:1].to(labels.device)), attack.mode)
    found = []
    for rows in batches(len(images)):
        # One batch of floats at a time: the images may be mapped from disk and, as floats, larger than memory.
        floats = as_float(images[rows].to(labels.device))
        found.append(run_restarts(attack, network, floats, labels[rows], starts=starts.of(rows)))
    return torch.cat(found)


def _substituted(
    model: nn.Module, texts: Tensor, labels: Tensor, attack: Substitution, words: Lexicon | None
) -> Tensor:
    assert words is not None, "a substitution needs the words of the dataset"
    network = twin(model, as_float(texts[:1].to(labels.device)))
    parts = ((as_float(texts[rows].to(labels.device)), labels[rows]) for rows in batches(len(texts)))
    return torch.cat([substitute(network, floats, their, attack, words) for floats, their in parts])


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
    adversarial = adversarial_images(
        model, attacked.images, attacked.labels, attack, seed=seed, indices=right, words=words
    )
    return int((predict(model, adversarial) == attacked.labels).sum()) / len(data)


def right_when_clean(model: nn.Module, data: LabelledImages) -> Tensor:
    """Return the indices of the images whose label `model` predicts, as [m]."""
    return (predict(model, data.images) == data.labels).nonzero().squeeze(1)
