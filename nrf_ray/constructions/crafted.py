"""Constructed datasets: images whose labels t only certain features predict (paper sections 3.1 and 3.2).

A construction is two independent choices: how t is drawn (`draw_targets`), and which features predict t, which is up to
the crafting method. For D_rand, D_det and D_other they are a source model's non-robust features, put in by targeted PGD
or by replaced words. For D_R and D_NR, whose t is y, they are the features that a source represents, put in by
matching. For the leakage-only controls, a meaningless pattern or meaningless words predict t.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nrf_ray.attacks.losses import per_example_cross_entropy
from nrf_ray.attacks.pgd import attack_mode
from nrf_ray.attacks.threat import Norm, perturbation_norm
from nrf_ray.constructions.craft import Maker, Setup
from nrf_ray.constructions.spec import OwnTargets, Storage, TargetRule
from nrf_ray.data.images import as_float, as_uint8, stored_as
from nrf_ray.engine.predict import classes_of, next_labels
from nrf_ray.engine.twin import Twin, twin
from nrf_ray.errors import ConfigError
from nrf_ray.seeding import derive_seed


class Crafted(NamedTuple):
    """Constructed images as stored, with the measurements of each image."""

    images: Tensor
    """[b, c, h, w], uint8 or float32."""
    norm: Tensor
    """[b], distance of the stored image from its start, in the threat model's norm, pixel units of [0, 1]."""
    distance: Tensor
    """[b], distance of the stored image from the original of its row: equal to `norm`, except for D_R and D_NR."""
    moved: Tensor
    """[b], whether the stored image differs from its start at 8 bits."""
    loss: Tensor
    """[b], on the stored image: the source's cross-entropy towards t, or the relative distance of the representations
    (D_R, D_NR); NaN if no source was used."""
    prediction: Tensor
    """[b], the source's prediction before storage rounding; -1 if no source was used."""
    prediction_stored: Tensor
    """[b], the source's prediction on the stored image; -1 if no source was used."""


def draw_targets(rule: TargetRule | OwnTargets, labels: Tensor, num_classes: int, seed: int) -> Tensor:
    """Return the label t for every label y of a whole dataset [n].

    "same" is y (D_R, D_NR); "uniform" draws any class, so t = y for one in k rows (D_rand); "next" is (y + 1) mod k
    (D_det); "other" draws any class but y (D_other). Row i of the result depends on nothing but the seed, i and y.

    Raises ConfigError if a rule of one's own does not return n classes.
    """
    if rule == "same":
        return labels
    if rule == "next":
        return next_labels(labels, num_classes)
    generator = torch.Generator().manual_seed(derive_seed(seed, "targets"))
    if callable(rule):
        return _checked(rule(labels.clone(), num_classes, generator), labels, num_classes)
    if rule == "uniform":
        return torch.randint(num_classes, labels.shape, generator=generator)
    return (labels + torch.randint(1, num_classes, labels.shape, generator=generator)) % num_classes


def _checked(drawn: object, labels: Tensor, num_classes: int) -> Tensor:
    """Return the labels that a rule of one's own returned for `labels` [n], if they are n classes."""
    if not isinstance(drawn, Tensor) or drawn.shape != labels.shape or drawn.dtype != labels.dtype:
        found = f"{drawn.dtype} of shape {tuple(drawn.shape)}" if isinstance(drawn, Tensor) else type(drawn).__name__
        raise ConfigError(
            f"the rule for targets returned {found}; it must return {labels.dtype} of shape {tuple(labels.shape)}"
        )
    if len(drawn) and not 0 <= int(drawn.min()) <= int(drawn.max()) < num_classes:
        raise ConfigError(
            f"the rule for targets returned classes from {int(drawn.min())} to {int(drawn.max())}; there are "
            f"{num_classes}, 0 to {num_classes - 1}"
        )
    return drawn


def seen_by(
    model: nn.Module, originals: Tensor, made: Tensor, targets: Tensor, storage: Storage, norm: Norm
) -> Crafted:
    """Return `made` [b, c, h, w], moved from `originals`, as stored, with loss and predictions of the source `model`.

    They are computed in float32, whatever mode the images were made in.
    """
    stored = stored_as(made, storage)
    with attack_mode(model), torch.no_grad():
        logits = model(as_float(stored))
        prediction = classes_of(model(made))
    moved_by = perturbation_norm(as_float(stored) - originals, norm)
    return Crafted(
        images=stored,
        norm=moved_by,
        distance=moved_by,
        moved=differ(as_uint8(made), as_uint8(originals)),
        loss=per_example_cross_entropy(logits, targets),
        prediction=prediction,
        prediction_stored=classes_of(logits),
    )


def unseen(originals: Tensor, stored: Tensor, norm: Norm) -> Crafted:
    """Return the images `stored`, made from `originals`, with NaN and -1 for the loss and predictions of a source."""
    distance = perturbation_norm(as_float(stored) - originals, norm)
    nothing = torch.full(distance.shape, -1)
    return Crafted(
        images=stored,
        norm=distance,
        distance=distance,
        moved=differ(as_uint8(as_float(stored)), as_uint8(originals)),
        loss=torch.full(distance.shape, float("nan")),
        prediction=nothing,
        prediction_stored=nothing,
    )


def by_source(setup: Setup, craft: Callable[[Twin, Tensor, Tensor], Crafted]) -> Maker:
    """Return a maker that calls `craft` with the source's twin, the images of its rows and their labels t."""
    assert setup.model is not None, "it has a source"
    device = setup.device
    network = twin(setup.model, setup.originals.rows(slice(0, 1)).floats().to(device), setup.config.craft.mode)

    def make(rows: slice) -> Crafted:
        return on_cpu(craft(network, setup.originals.images[rows].to(device), setup.targets[rows].to(device)))

    return make


def on_cpu(crafted: Crafted) -> Crafted:
    """Return `crafted` in CPU memory."""
    return Crafted(*(column.cpu() for column in crafted))


def differ(left: Tensor, right: Tensor) -> Tensor:
    """Return whether two batches of images differ in any pixel, as [b]."""
    return (left != right).flatten(1).any(dim=1)
