"""A convolution of few channels whose gradient with respect to its input is fast on a CPU.

That gradient has as many channels as the image, and the CPU's kernels compute sixteen at a time: for three colours they
do five times the work. Here the gradient is computed in blocks of 2 x 2 pixels, which are twelve channels of one
convolution of the output's gradient, and the blocks are put side by side. The numbers are the same up to rounding, in
about half the time.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCK = 2
"""Side of a block, in pixels."""


class Blocks(NamedTuple):
    """Layout of a convolution's weights for the convolution that computes its gradient by blocks."""

    places: Tensor
    """[4 * inputs, outputs, kernel, kernel]: index into the flattened weight; one past its end for 0."""
    before: int
    """Rows and columns of zeros needed in front of the output's gradient."""


class FewChannelConv2d(nn.Conv2d):
    """A `Conv2d` for frozen weights: its input gets a gradient, its weights do not."""

    @staticmethod
    def serves(conv: nn.Conv2d, images: Tensor) -> bool:
        """Return whether `conv` on `images` can be computed this way, and is faster so."""
        return (
            type(conv) is nn.Conv2d
            and images.device.type == "cpu"
            and conv.stride in ((1, 1), (2, 2))
            and (conv.in_channels in (3, 4) or (conv.in_channels < 3 and conv.stride == (2, 2)))
            and conv.groups == 1
            and conv.dilation == (1, 1)
            and conv.padding_mode == "zeros"
            and isinstance(conv.padding, tuple)
            and conv.kernel_size[0] == conv.kernel_size[1] == 2 * conv.padding[0] + 1 == 2 * conv.padding[1] + 1
            and conv.kernel_size[0] > 1
            and not (conv._forward_hooks or conv._forward_pre_hooks)
        )

    @classmethod
    def of(cls, conv: nn.Conv2d) -> "FewChannelConv2d":
        """Return a layer that shares the weights of `conv`."""
        (side, _), (stride, _) = conv.kernel_size, conv.stride
        made = cls(conv.in_channels, conv.out_channels, side, stride, side // 2, device="meta")
        made.weight, made.bias = conv.weight, conv.bias
        return made.train(conv.training)

    def forward(self, images: Tensor) -> Tensor:
        """Return the output that `Conv2d` gives."""
        if images.dim() != 4 or images.shape[2] % BLOCK or images.shape[3] % BLOCK:
            return super().forward(images)
        result: Tensor = _Convolution.apply(images, self.weight, self.bias, self.stride[0], self.kernel_size[0] // 2)
        return result


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.dtype, ctx.stride = images.shape, images.dtype, stride
        return F.conv2d(images, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        found = input_gradient(gradients[0], weight, ctx.shape, ctx.stride).to(ctx.dtype)
        return found, None, None, None, None


def input_gradient(gradient: Tensor, weight: Tensor, shape: torch.Size, stride: int) -> Tensor:
    """Return the gradient with respect to the input [b, c, h, w] = `shape` of a convolution with padding k // 2.

    h and w are even. `gradient` is the gradient with respect to the output, `weight` is [outputs, c, k, k]; the result
    has the type of `gradient`.
    """
    batch, channels, height, width = shape
    blocks = _blocks(tuple(weight.shape), stride)
    flat = torch.cat([weight.to(gradient.dtype).flatten(), gradient.new_zeros(1)])
    kernel = flat[blocks.places].contiguous(memory_format=torch.channels_last)
    step, rows, columns = BLOCK // stride, height // BLOCK, width // BLOCK
    behind = [
        step * (count - 1) + kernel.shape[2] - blocks.before - have
        for count, have in ((columns, gradient.shape[3]), (rows, gradient.shape[2]))
    ]
    padded = F.pad(gradient, (blocks.before, behind[0], blocks.before, behind[1]))
    found = F.conv2d(padded, kernel, stride=step).permute(0, 2, 3, 1)
    found = found.reshape(batch, rows, columns, BLOCK, BLOCK, channels).transpose(2, 3)
    return found.reshape(batch, height, width, channels).permute(0, 3, 1, 2)


@lru_cache
def _blocks(shape: tuple[int, ...], stride: int) -> Blocks:
    """Return the layout for blocks of a weight of `shape` [outputs, inputs, k, k].

    Pixel a of block m is 2 m + a, and output o reads it with its tap t if stride * o + t - k // 2 = 2 m + a.
    """
    outputs, inputs, side, _ = shape
    taps = [
        (a, t, (a + side // 2 - t) // stride)
        for a in range(BLOCK)
        for t in range(side)
        if (a + side // 2 - t) % stride == 0
    ]
    first, last = min(o for *_, o in taps), max(o for *_, o in taps)
    places = torch.arange(outputs * inputs * side * side).view(shape)
    index = torch.full((BLOCK, BLOCK, inputs, outputs, last - first + 1, last - first + 1), places.numel())
    for a, t, o in taps:
        for b, u, p in taps:
            index[a, b, :, :, o - first, p - first] = places[:, :, t, u].T
    return Blocks(index.flatten(0, 2), -first)
