"""Random search on the margin: an attack that sees the logits and follows no gradient.

It is the search of Square (Andriushchenko et al. 2020, arXiv 1912.00049): a square window of the perturbation is drawn
anew, and the change is kept if the margin rises. Windows shrink as queries are spent. In linf a window takes +-eps per
channel; in l2 it takes a bump of the published form, and the whole is brought back to the sphere of radius eps.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nrf_ray.attacks.losses import per_example_margin
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.engine.given import check_images, check_labels, check_outputs
from nrf_ray.engine.predict import batches, evaluating
from nrf_ray.engine.twin import original
from nrf_ray.models.classifier import rows_read
from nrf_ray.seeding import derive_seed

LARGEST = 0.3
"""Share of the pixels in the first windows."""
HALVED_AT = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
"""Shares of the queries after which the windows have half as many pixels."""
SMALLEST_CHANGE = 0.15
"""Weight in l2 of the last windows against what the perturbation was; the first windows have weight 1."""


class Searched(NamedTuple):
    """What a search found."""

    images: Tensor
    """[n, c, h, w], the images of the highest margin."""
    queries: Tensor
    """[n], windows that were tried for each image; an image that fools the model gets no further one."""


def random_search(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    threat: ThreatModel,
    queries: int,
    seed: int,
    indices: Tensor,
) -> Searched:
    """Return the images with the highest margin that `queries` forward passes find for `images` [n, c, h, w].

    Random numbers depend on `seed` and an image's index in `indices` [n] alone. An image that fools the model is left
    out of later queries. Raises ConfigError for images outside [0, 1] and outputs that are no logits.
    """
    check_images(images)
    found, used = images.clone(), torch.zeros_like(labels)
    with evaluating(model), torch.no_grad():
        for rows in batches(len(images)):
            draws = _Draws(
                images[rows], [derive_seed(seed, "search", index) for index in indices[rows].tolist()], queries
            )
            found[rows], used[rows] = _searched(original(model), images[rows], labels[rows], threat, draws)
    return Searched(found, used)


class _Draws:
    """Random numbers of a search: each image has its own, whatever images are searched with it."""

    def __init__(self, images: Tensor, seeds: list[int], queries: int) -> None:
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        channels, width = images.shape[1], images.shape[3]
        self.queries = queries
        self.stripes = _each(generators, (channels, 1, width), images)
        self.places = _each(generators, (queries, 2), images)
        self.signs = _each(generators, (queries, channels), images)


def _each(generators: list[torch.Generator], shape: tuple[int, ...], like: Tensor) -> Tensor:
    return torch.stack([torch.rand(shape, generator=generator) for generator in generators]).to(like.device)


def _searched(model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, draws: _Draws) -> Searched:
    rows = rows_read(model, images)
    read = torch.ones_like(images[:, :1, :, :1]) if rows is None else rows.to(images.dtype)
    stripes = ((draws.stripes > 0.5).to(images.dtype) * 2 - 1).expand_as(images) * read
    best = _placed(images, stripes, threat)
    margins, used = _margins(model, best, labels), torch.zeros_like(labels)
    for query in range(draws.queries):
        left = (margins <= 0).nonzero().squeeze(1)
        if len(left) == 0:
            break
        used[left] += 1
        side = _side(query / draws.queries, images)
        window = _window(draws.places[left, query], side, images[left])
        bump = window * ((draws.signs[left, query] > 0.5).to(images.dtype) * 2 - 1)[:, :, None, None] * read[left]
        tried = _changed(images[left], best[left], window, bump, threat, query / draws.queries)
        reached = _margins(model, tried, labels[left])
        better = reached > margins[left]
        best[left[better]], margins[left[better]] = tried[better], reached[better]
    return Searched(best, used)


def _changed(images: Tensor, best: Tensor, window: Tensor, bump: Tensor, threat: ThreatModel, spent: float) -> Tensor:
    """Return `best` with a window of its perturbation drawn anew."""
    delta = best - images
    if threat.norm == "linf":
        return threat.project(images + torch.where(window > 0, threat.eps * bump.sign(), delta), images)
    weight = max(SMALLEST_CHANGE, 1 - spent)
    direction = threat.ascend(bump, threat.eps * weight)
    return _placed(images, delta * (1 - weight * (window > 0)) + direction, threat)


def _placed(images: Tensor, direction: Tensor, threat: ThreatModel) -> Tensor:
    """Return the images at distance eps along `direction`, projected into the box."""
    return threat.project(images + threat.ascend(direction, threat.eps), images)


def _side(spent: float, images: Tensor) -> int:
    """Return the side of a window when a share `spent` of the queries is spent."""
    share = LARGEST / 2 ** sum(spent >= after for after in HALVED_AT)
    height, width = images.shape[2:]
    return max(1, min(round(math.sqrt(share * height * width)), height, width))


def _window(places: Tensor, side: int, images: Tensor) -> Tensor:
    """Return windows [b, 1, h, w] of `side` at `places` [b, 2] in [0, 1]: 0 outside, and highest in their middle."""
    inside = []
    for axis, size in enumerate(images.shape[2:]):
        first = (places[:, axis : axis + 1] * (size - side + 1)).floor().clamp_max(size - side)
        away = (torch.arange(size, device=images.device) - first - (side - 1) / 2).abs()
        inside.append((1 - away / (side / 2 + 0.5)).clamp_min(0) * (away <= (side - 1) / 2))
    return (inside[0][:, :, None] * inside[1][:, None, :]).unsqueeze(1).to(images.dtype)


def _margins(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the margins [b]; an output that is NaN has the lowest, as it is no answer."""
    outputs = check_outputs(model(images), model, len(images))
    check_labels(labels, len(images), outputs.shape[1])
    return per_example_margin(outputs, labels).nan_to_num(nan=-math.inf)
