"""Predictions of a model in batches of a fixed size, and shares in [0, 1] that are counted from them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nrf_ray.data.images import as_float
from nrf_ray.engine import meter
from nrf_ray.engine.twin import original

BATCH = 256
"""Images per forward pass; fixed, because the kernels' rounding can depend on it."""


@torch.no_grad()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Return the predicted class of each of `images` [n, c, h, w], float or uint8, on any device, as [n].

    It is -1 if a logit is NaN. `model` is left in the mode that it was in.
    """
    model = original(model)
    meter.count("predicted", len(images))
    parameter = next(model.parameters(), None)
    device = images.device if parameter is None else parameter.device
    with evaluating(model):
        parts = [classes_of(model(as_float(images[rows].to(device)))) for rows in batches(len(images))]
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.long, device=device)


def classes_of(logits: Tensor) -> Tensor:
    """Return the class of the largest of logits [b, k], as [b]; -1, which is no class, if one of them is NaN."""
    return torch.where(logits.isnan().any(dim=1), -1, logits.argmax(dim=1))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put `model` into eval mode, and give every module its own mode back."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of `images` whose label `model` predicts."""
    return share(predict(model, images) == labels)


def next_labels(labels: Tensor, num_classes: int) -> Tensor:
    """Return (y + 1) mod k, the relabelling of D_det (paper 3.2, D.6)."""
    return (labels + 1) % num_classes


def share(hits: Tensor) -> float:
    """Return the share of True in a tensor of booleans."""
    return float(hits.double().mean())


def batches(n: int, size: int = BATCH) -> Iterator[slice]:
    """Yield slices of at most `size` that cover 0..n."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
