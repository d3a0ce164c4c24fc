"""Honest models on digits: attacks work on them as they should, so a check that fails one of them cries wolf."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from torch import Tensor, nn
from torch.nn.utils import parametrize

from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.images import LabelledImages
from nrf_ray.stages.weights import new_model
from nrf_ray.training.recipes import Recipe
from tests.trust.defence import Behind, put
from tests.trust.masked import scaled
from tests.trust.networks import PLAIN, adversarially, cnn, examples, mlp, train

SEEDS = (0, 1, 2)
"""Seeds that every kind is trained with."""


@dataclass(frozen=True, kw_only=True)
class Honest:
    """One honest kind of model."""

    name: str
    """Name in the table."""
    make: Callable[[int], nn.Module]
    """Trains the model of a seed, in eval mode."""
    norm: str = "l2"
    """Norm of the attack on it."""
    radii: tuple[float, float] = (0.4, 0.6)
    """Radii of the attack on it."""
    label: Callable[[Tensor], Tensor] | None = None
    """The digits' labels as this model's labels; None for the digits themselves."""

    def images(self, n: int) -> LabelledImages:
        """Return n test images with this model's labels."""
        data = examples(n)
        return data if self.label is None else LabelledImages(images=data.images, labels=self.label(data.labels))


class Rounded(nn.Module):
    """Weights rounded to sixteen levels, with a straight-through gradient while they are trained."""

    def forward(self, weight: Tensor) -> Tensor:
        """Return the rounded weights."""
        step = weight.detach().abs().amax() / 7.5
        return put((weight / step).round() * step, weight)


def with_rounded_weights(seed: int) -> nn.Module:
    """Return a network trained with rounded weights; afterwards these are its weights, and it is as smooth as any."""
    network = train(_parametrised, PLAIN, seed=seed)
    for module in network:
        if parametrize.is_parametrized(module):
            parametrize.remove_parametrizations(module, "weight")
    return network.requires_grad_(False)


def _parametrised() -> nn.Module:
    network = cnn()
    for module in network:
        if isinstance(module, nn.Conv2d | nn.Linear):
            parametrize.register_parametrization(module, "weight", Rounded())
    return network


def parity(labels: Tensor) -> Tensor:
    """Return whether each digit is odd, as class 0 or 1."""
    return labels % 2


def trained_by(build: Callable[[], nn.Module], recipe: Recipe) -> Callable[[int], nn.Module]:
    """Return a function that trains a network of `build` by `recipe` with a seed."""
    return lambda seed: train(build, recipe, seed=seed)


def of_catalogue(arch: str) -> Callable[[int], nn.Module]:
    """Return a function that trains an architecture of the catalogue with a seed."""
    ref = dataset_named("digits").ref
    return lambda seed: train(lambda: new_model(arch, ref, seed=seed), Recipe(epochs=5, lr=0.05), seed=seed)


@cache
def _robust(seed: int) -> nn.Module:
    return train(mlp, adversarially("l2", 0.6), seed=seed)


HONEST: dict[str, Honest] = {
    honest.name: honest
    for honest in (
        Honest(name="standard", make=trained_by(mlp, PLAIN)),
        Honest(name="convolutional", make=trained_by(cnn, PLAIN)),
        Honest(name="adversarial-l2", make=_robust),
        Honest(
            name="adversarial-linf",
            make=trained_by(mlp, adversarially("linf", 0.1)),
            norm="linf",
            radii=(0.05, 0.1),
        ),
        Honest(name="adversarial-x10", make=lambda seed: Behind(_robust(seed), after=scaled(10))),
        Honest(name="standard-x.1", make=lambda seed: Behind(train(mlp, PLAIN, seed=seed), after=scaled(0.1))),
        Honest(name="smooth", make=trained_by(lambda: mlp(nn.SiLU), PLAIN)),
        Honest(name="rounded-weights", make=with_rounded_weights),
        Honest(
            name="two-classes",
            make=lambda seed: train(lambda: mlp(classes=2), PLAIN, seed=seed, label=parity),
            label=parity,
        ),
        Honest(name="no-weight-decay", make=trained_by(mlp, replace(PLAIN, epochs=60, weight_decay=0.0))),
        Honest(name="vgg", make=of_catalogue("vgg_s")),
        Honest(name="resnet", make=of_catalogue("resnet_s")),
    )
}
"""Every honest kind."""
