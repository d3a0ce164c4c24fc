"""What a broken defence is, and the parts that defences are made of.

A defence is broken if a usual attack finds fewer adversarial images than there are, not if its answers are wrong. So
each has a `truth`: a module of the same answers with a gradient that is of use.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Build = Callable[[nn.Module, nn.Module, nn.Module], nn.Module]
"""Function from the networks base, other and robust (see `networks.Networks`) to a module that takes images
[b, 1, 8, 8] in [0, 1] and returns logits [b, k]."""
Map = Callable[[Tensor], Tensor]
"""Function from a batch to a batch, row by row."""


@dataclass(frozen=True, kw_only=True)
class Defence:
    """One broken defence."""

    name: str
    """Name in the table."""
    family: str
    """Kind of fault: gradient, shattered, masked, random, stateful, purifier."""
    build: Build
    """Makes the defence; stateful defences are made anew for every use."""
    truth: Build
    """Makes a module of the same answers with a useful gradient."""
    why: str
    """Why attacks fail on it, and who showed that."""
    expected: bool = False
    """Whether `truth` gives the answers expected over the defence's noise or history, not those of one pass."""
    samples: bool = False
    """Whether two passes, or two orders of the images, differ; the answer is then the majority of several passes."""


def base_alone(base: nn.Module, other: nn.Module, robust: nn.Module) -> nn.Module:
    """Return `base`: the truth of every defence that gives the answers of `base` and only hides its gradient."""
    return base


def same(batch: Tensor) -> Tensor:
    """Return `batch`."""
    return batch


class Behind(nn.Module):
    """A network behind a function of its images and a function of its logits."""

    def __init__(self, network: nn.Module, *, before: Map = same, after: Map = same) -> None:
        super().__init__()
        self.network, self.before, self.after = network, before, after

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.after(self.network(self.before(images)))
        return logits


class _Put(torch.autograd.Function):
    """The first argument, exactly, with the gradient of the second."""

    @staticmethod
    def forward(ctx, value: Tensor, path: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[None, Tensor]:
        return None, gradient


def put(value: Tensor, path: Tensor) -> Tensor:
    """Return `value` with the gradient of `path`, which has the same shape: a straight-through estimator."""
    result: Tensor = _Put.apply(value.detach(), path)
    return result


def behind(before: Map = same, after: Map = same) -> Build:
    """Return the build of `base` behind functions of its images and logits."""
    return lambda base, other, robust: Behind(base, before=before, after=after)


def straight(before: Map) -> Map:
    """Return `before` with the identity as its gradient (BPDA, Athalye et al. 2018)."""
    return lambda images: put(before(images), images)


class _Turned(torch.autograd.Function):
    """The identity whose gradient goes through a function."""

    @staticmethod
    def forward(ctx, batch: Tensor, turn: Map) -> Tensor:
        ctx.turn = turn
        return batch.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.turn(gradient), None


def turned(turn: Map) -> Map:
    """Return the identity whose gradient [b, ...] is replaced by `turn(gradient)`."""
    return lambda batch: _Turned.apply(batch, turn)


def only(rows: Callable[[Tensor], Tensor], then: Map, otherwise: Map = same) -> Map:
    """Return a function that is `then` for the images of which `rows` [b] is True, and `otherwise` for the rest."""

    def chosen(images: Tensor) -> Tensor:
        which = rows(images).view(-1, *[1] * (images.dim() - 1))
        return torch.where(which, then(images), otherwise(images))

    return chosen


GRAIN = 4096
"""Steps of a pixel that `digest` tells apart: a smaller change is no change to it."""


def digest(images: Tensor, salt: int = 0) -> Tensor:
    """Return a whole number in 0..2^24-1 for each image, [b], that its content alone decides, as a hash does.

    Whole numbers make it exact: neither the batch nor the layout in memory changes it.
    """
    pixels = (images.detach().flatten(1) * GRAIN).round().long()
    factors = torch.arange(1, pixels.shape[1] + 1) * 2_654_435_761 + 97 * salt + 12345
    mixed = ((pixels + 17) * factors % 4_294_967_291).sum(dim=1) % 4_294_967_291 + 7919 * salt
    for _ in range(2):
        mixed = (mixed ^ (mixed >> 15)) * 73_244_475 % 4_294_967_291
    return (mixed ^ (mixed >> 16)) % 2**24


def noise_of(images: Tensor, salt: int = 0) -> Tensor:
    """Return noise of the shape of `images`, uniform in -1..1, that each image's content alone decides."""
    places = torch.arange(images[0].numel()) * 40_503 + 11 * salt
    mixed = digest(images, salt).unsqueeze(1) * 65_537 + places * 31_337
    for _ in range(2):
        mixed = (mixed ^ (mixed >> 13)) * 73_244_475 % 4_294_967_291
    return ((mixed ^ (mixed >> 16)) % 2**20).float().div(2**19).sub(1).view(images.shape)


def drawn(shape: tuple[int, ...] | torch.Size, seed: int) -> Tensor:
    """Return standard normal numbers of `shape`, the same for the same seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def mean_answer(logits: Tensor) -> Tensor:
    """Return the logarithm of the mean probabilities of `logits` [m, b, k], with the gradient of the mean loss."""
    return put(logits.softmax(2).mean(0).clamp_min(1e-12).log(), logits.log_softmax(2).mean(0))


class Mean(nn.Module):
    """The mean probability over fixed variants of each image: a smooth share of the variants that say a class."""

    def __init__(self, network: nn.Module, variants: Callable[[Tensor], list[Tensor]]) -> None:
        super().__init__()
        self.network, self.variants = network, variants

    def forward(self, images: Tensor) -> Tensor:
        """Return the logarithm of the mean probabilities."""
        variants = self.variants(images)
        logits = self.network(torch.cat(variants)).unflatten(0, (len(variants), -1))
        return mean_answer(logits)
