"""Clamps with a straight gradient, so that pixels at 0 and 1 can move.

In torch 2.14 the gradient of `clamp(0, 1)` at its two bounds is 0 (in 2.13 it was 1); that of `hardtanh` always was. A
network that clamps its input then has no gradient at black and white pixels, and an attack never moves them. Both are
valid subgradients; the one of 1 is what an attack needs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

CLAMPS = {torch.clamp, torch.clip, Tensor.clamp, Tensor.clip, torch.clamp_min, torch.clamp_max}
CLAMPS |= {Tensor.clamp_min, Tensor.clamp_max}
IN_PLACE = {torch.clamp_, torch.clip_, Tensor.clamp_, Tensor.clip_}


class StraightClamps(TorchFunctionMode):
    """Context in which clamps to numbers have the gradient 1 at their bounds; `used` says whether there were any."""

    def __init__(self) -> None:
        super().__init__()
        self.used = False

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `function`, or clamp with a straight gradient."""
        kwargs = kwargs or {}
        bounds = _bounds(function, args, kwargs)
        if bounds is None:
            return function(*args, **kwargs)
        self.used = True
        clamped = _StraightClamp.apply(args[0], *bounds)
        return args[0].copy_(clamped) if function in IN_PLACE else clamped


class _WithStraightClamps(nn.Module):
    """A network whose clamps have straight gradients."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        with StraightClamps():
            output: Tensor = self.network(images)
        return output


def with_straight_clamps(network: nn.Module, images: Tensor) -> nn.Module:
    """Return `network` with straight gradients of its clamps; itself if it clamps nothing in a pass of `images`."""
    with torch.no_grad(), StraightClamps() as clamps:
        network(images)
    return _WithStraightClamps(network) if clamps.used else network


def _bounds(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, Any] | None:
    """Return the bounds of a clamp to numbers, or None for another function."""
    if function is F.hardtanh:  # only where it stands for a clamp of pixels: inside a network it is an activation
        low, high = _given(args, kwargs, ("min_val", "max_val"))
        return (low, high) if (low, high) == (0, 1) else None
    if function in (torch.clamp_min, Tensor.clamp_min):
        low, high = _given(args, kwargs, ("min",))[0], None
    elif function in (torch.clamp_max, Tensor.clamp_max):
        low, high = None, _given(args, kwargs, ("max",))[0]
    elif function in CLAMPS or function in IN_PLACE:
        low, high = _given(args, kwargs, ("min", "max"))
    else:
        return None
    numbers = all(bound is None or isinstance(bound, int | float) for bound in (low, high))
    return (low, high) if numbers and args and isinstance(args[0], Tensor) and "out" not in kwargs else None


def _given(args: Sequence[Any], kwargs: Mapping[str, Any], names: Sequence[str]) -> tuple[Any, ...]:
    """Return the arguments called `names`, which follow the first one; None for those that are left out."""
    return tuple(args[place] if place < len(args) else kwargs.get(name) for place, name in enumerate(names, 1))


class _StraightClamp(torch.autograd.Function):
    """The clamp of a tensor to numbers, with the gradient 1 from one bound to the other, both included."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, low: float | None, high: float | None) -> Tensor:
        clamped = values.clamp(low, high)
        ctx.save_for_backward(clamped == values)
        return clamped

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None, None
