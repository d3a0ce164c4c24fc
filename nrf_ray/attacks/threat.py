"""Threat models: what an adversary may do to an image in [0, 1].

Attacks in l2, linf and l2_token differ in three methods only: `project` back into the allowed set, `ascend` along a
gradient by a step of given length, and `random_start` at a random point inside. Only methods that take tensors import
torch, so a sweep can be planned without it.

Shapes: images, perturbations and gradients are [b, c, h, w]; eps is a radius in pixel units of [0, 1]. An embedded text
is an image whose rows are tokens: l2 is then a ball around the whole text, l2_token a ball around each of its tokens.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from nrf_ray.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Norm = Literal["l2", "linf", "l2_token"]
NORMS: tuple[Norm, ...] = get_args(Norm)
SMALLEST_EPS = 1e-6
"""Smallest radius: near 1, neighbouring float32 numbers are 6e-8 apart, so a smaller ball is mostly rounding."""
FLAT = 1e-37
"""Least length that a gradient is divided by; a shorter gradient counts as this long, because float32 cannot hold the
reciprocal of a length much below it."""


@dataclass(frozen=True, kw_only=True)
class ThreatModel:
    """All images within `eps` of the original in `norm`, and within the box [0, 1]."""

    norm: Norm
    """"l2" or "linf" of the whole image, or "l2_token" of each row of a text."""
    eps: float
    """Radius in pixel units; at least `SMALLEST_EPS`."""

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise ConfigError(f"unknown norm {self.norm!r}; known norms: {', '.join(NORMS)}")
        object.__setattr__(self, "eps", float(self.eps))
        if not (math.isfinite(self.eps) and self.eps > 0):
            raise ConfigError(f"epsilon must be a finite number above 0, not {self.eps:g}")
        if self.eps < SMALLEST_EPS:
            raise ConfigError(
                f"epsilon {self.eps:g} is below {SMALLEST_EPS:g}: steps that small vanish in 32-bit images in [0, 1]"
            )

    def check_fits(self, shape: tuple[int, ...]) -> None:
        """Raise ConfigError if the ball contains the whole box of images of `shape`, so that eps bounds nothing."""
        diameter = {"l2": math.sqrt(math.prod(shape)), "l2_token": math.sqrt(shape[-1]), "linf": 1.0}[self.norm]
        if self.eps > diameter:
            raise ConfigError(
                f"{self.norm} epsilon {self.eps:g} is beyond the box: images of shape {shape} in [0, 1] are at most "
                f"{diameter:g} apart; choose a smaller epsilon"
            )

    def project(self, images: "Tensor", originals: "Tensor") -> "Tensor":
        """Return `images` projected into the ball around `originals`, then into the box.

        The clamp moves every pixel towards its original, which is in the box, so the result is still in the ball.
        """
        delta = images - originals
        if self.norm == "linf":
            delta.clamp_(-self.eps, self.eps)
        else:
            delta.mul_(self.eps / self.ball_norms(delta).clamp_min(self.eps))
        return delta.add_(originals).clamp_(0.0, 1.0)

    def holds(self, images: "Tensor", originals: "Tensor") -> "Tensor":
        """Return which of `images` are finite, in the box and in the ball around their `originals`, as [b].

        The radius may be exceeded by a ten-thousandth, for the rounding of float32.
        """
        found, size = images.double(), perturbation_norm(images.double() - originals.double(), self.norm)
        in_box = ((found >= 0) & (found <= 1)).flatten(1).all(dim=1)  # False for NaN
        within: Tensor = in_box & (size <= self.eps * (1 + 1e-4))
        return within

    def ascend(self, gradient: "Tensor", length: float = 1.0) -> "Tensor":
        """Return the step of this length that increases the loss fastest (`length` < 0: decreases); 0 if it is flat.

        In l2_token every row takes a step of this length.

        The direction does not depend on the gradient's scale: a loss that is averaged, summed or nearly saturated gives
        the same step. So the gradient's length is computed in float64, in which squares of small numbers do not vanish.
        """
        if self.norm == "linf":
            return gradient.sign().mul_(length)
        import torch

        steepness = self.ball_norms(gradient, torch.float64)
        return gradient * (length / steepness.clamp_min(FLAT)).to(gradient.dtype)

    def random_start(self, originals: "Tensor", generator: "torch.Generator", rows: "Tensor | None" = None) -> "Tensor":
        """Return a uniformly random point of the ball around each of `originals` (each row), clamped to the box.

        `rows` [b, 1, h, 1] marks the rows that the ball extends over; the other rows stay unchanged and do not count as
        dimensions of the ball. None marks all rows.
        """
        if self.norm == "linf":
            noise = originals.new_empty(originals.shape).uniform_(-self.eps, self.eps, generator=generator)
            return (originals + (noise if rows is None else noise * rows)).clamp(0.0, 1.0)
        noise = originals.new_empty(originals.shape).normal_(generator=generator)
        direction = self.ascend(noise if rows is None else noise * rows)
        balls = originals.shape[: len(originals.shape) - 1] if self.norm == "l2_token" else originals.shape[:1]
        uniform = originals.new_empty(balls).uniform_(generator=generator)
        exponent: float | Tensor = uniform.numel() / originals.numel()
        if rows is not None and self.norm == "l2":
            exponent = exponent * rows.shape[2] / rows.flatten(1).sum(dim=1).clamp_min(1)
        radius = self.eps * uniform.pow(exponent)
        return (originals + direction * _behind(radius, direction)).clamp(0.0, 1.0)

    def ball_norms(self, delta: "Tensor", dtype: "torch.dtype | None" = None) -> "Tensor":
        """Return the l2 norms that an l2 or l2_token eps bounds: [b, 1, ...] per example, or [..., 1] per row."""
        import torch

        within = (delta.dim() - 1,) if self.norm == "l2_token" else _pixels(delta)
        lengths: Tensor = torch.linalg.vector_norm(delta, dim=within, keepdim=True, dtype=dtype)
        return lengths


def l2_norm(delta: "Tensor") -> "Tensor":
    """Return the l2 norm of each example of a batch, as [b]."""
    import torch

    lengths: Tensor = torch.linalg.vector_norm(delta, dim=_pixels(delta))
    return lengths


def linf_norm(delta: "Tensor") -> "Tensor":
    """Return the largest absolute pixel of each example of a batch, as [b]."""
    return delta.abs().amax(dim=_pixels(delta))


def l2_token_norm(delta: "Tensor") -> "Tensor":
    """Return the largest l2 norm of a row of each example of a batch, as [b]."""
    import torch

    lengths: Tensor = torch.linalg.vector_norm(delta, dim=delta.dim() - 1).flatten(1).amax(dim=1)
    return lengths


def perturbation_norm(delta: "Tensor", norm: Norm) -> "Tensor":
    """Return the size of each perturbation of a batch in `norm`, as [b]."""
    return {"l2": l2_norm, "linf": linf_norm, "l2_token": l2_token_norm}[norm](delta)


def _pixels(delta: "Tensor") -> tuple[int, ...]:
    """Return all dimensions except the first; reducing over them copies nothing, whatever the layout."""
    return tuple(range(1, delta.dim()))


def _behind(values: "Tensor", like: "Tensor") -> "Tensor":
    """Return `values` with as many dimensions as `like`, the missing ones last."""
    return values.view(*values.shape, *[1] * (like.dim() - values.dim()))
