"""Run an attack as its spec describes it, whatever kind of attack it is."""

import torch
from torch import Tensor, nn

from nrf_ray.attacks.autoattack import run_autoattack
from nrf_ray.attacks.functions import FUNCTIONS
from nrf_ray.attacks.hotflip import Lexicon, substitute
from nrf_ray.attacks.restarts import ExampleStarts, run_batches
from nrf_ray.attacks.run_function import run_function
from nrf_ray.attacks.specs import AnyAttack, AutoAttack, FunctionAttack, Substitution
from nrf_ray.data.images import as_float
from nrf_ray.engine.predict import batches
from nrf_ray.engine.twin import twin
from nrf_ray.graph import headway


def run_attack(
    attack: AnyAttack,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    seed: int = 0,
    indices: Tensor | None = None,
    words: Lexicon | None = None,
) -> Tensor:
    """Return adversarial images for all of `images` [n, c, h, w], found by `attack` against `model`: float32 in [0, 1].

    Random starts depend on `seed` and `indices` [n], the images' indices in their dataset; by default, their indices in
    `images`. A substitution chooses from `words`. Raises ConfigError for an attack whose result may be outside its
    threat model.
    """
    if len(images) == 0:
        return as_float(images)
    if isinstance(attack, Substitution):
        return _substituted(attack, model, images, labels, words)
    if isinstance(attack, AutoAttack):
        return run_autoattack(attack, model, as_float(images), labels, seed=seed).images
    if isinstance(attack, FunctionAttack):
        function = FUNCTIONS.named(attack.function).run
        return run_function(function, model, as_float(images), labels, attack.threat, seed=seed).images
    starts = ExampleStarts(seed=seed, indices=torch.arange(len(images)) if indices is None else indices.cpu())
    return run_batches(attack, model, images, labels, starts=starts)


def _substituted(
    attack: Substitution, model: nn.Module, texts: Tensor, labels: Tensor, words: Lexicon | None
) -> Tensor:
    assert words is not None, "a substitution needs the words of the dataset"
    network = twin(model, as_float(texts[:1].to(labels.device)))
    every = headway.over(batches(len(texts)), "batches", images=len(texts))
    parts = ((as_float(texts[rows].to(labels.device)), labels[rows]) for rows in every)
    return torch.cat([substitute(network, floats, their, attack, words) for floats, their in parts])
