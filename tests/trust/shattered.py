"""Defences that change the image, or an activation, by a function whose slope says nothing of its shape."""

import copy
from functools import cache

import torch
from torch import Tensor, nn

from tests.trust.defence import Build, Defence, Map, behind, put, straight
from tests.trust.networks import PLAIN, mlp, train


def levels(count: int) -> Map:
    """Return rounding of pixels to `count` levels."""
    return lambda images: (images * (count - 1)).round() / (count - 1)


def sine(amplitude: float, frequency: float) -> Map:
    """Return a fast sine on top of every pixel."""
    return lambda images: images + amplitude * torch.sin(frequency * images)


def stairs(images: Tensor) -> Tensor:
    """Return pixels on a smooth staircase that is flat at sixteenths, which are the grey levels of the digits."""
    turn = 2 * torch.pi * 16
    return images - torch.sin(turn * images) / turn


def steep(images: Tensor) -> Tensor:
    """Return pixels on a staircase of four steep sigmoids: a gradient that is almost 0 almost everywhere."""
    edges = torch.linspace(0.125, 0.875, 4)
    return torch.sigmoid(60 * (images.unsqueeze(-1) - edges)).mean(dim=-1)


def thermometer(images: Tensor) -> Tensor:
    """Return pixels as the mean of ten on-off switches (thermometer encoding, Buckman et al. 2018)."""
    return (images.unsqueeze(-1) > torch.linspace(0.05, 0.95, 10)).float().mean(dim=-1)


def cosines() -> Tensor:
    """Return the matrix [8, 8] of the discrete cosine transform of JPEG."""
    frequencies, places = torch.arange(8.0).unsqueeze(1), torch.arange(8.0) + 0.5
    matrix = torch.cos(torch.pi * frequencies * places / 8) / 2
    matrix[0] /= 2**0.5
    return matrix


def jpeg(step: float, rounding: Map) -> Map:
    """Return JPEG's loss for images of one block, 8x8: coefficients rounded to steps that grow with the frequency."""
    table = step * (1 + torch.arange(8.0).unsqueeze(1) + torch.arange(8.0))

    def compressed(images: Tensor) -> Tensor:
        coefficients = cosines() @ images @ cosines().T / table
        return cosines().T @ (rounding(coefficients) * table) @ cosines()

    return compressed


def soft_round(values: Tensor) -> Tensor:
    """Return values rounded by a sine: differentiable, with slopes of 0 to 2 that change at once."""
    return values - torch.sin(2 * torch.pi * values) / (2 * torch.pi)


def neighbours(images: Tensor) -> Tensor:
    """Return each pixel's 3x3 neighbours, as [b, 9, h, w]; the border is repeated."""
    padded = nn.functional.pad(images, (1, 1, 1, 1), mode="replicate")
    return nn.functional.unfold(padded, 3).view(len(images), 9, *images.shape[2:])


def median(images: Tensor) -> Tensor:
    """Return the median of each pixel, itself once more, and its upright neighbours (Xu et al. 2018)."""
    return neighbours(images)[:, 1::2].sort(dim=1).values[:, 1:3].mean(1, keepdim=True).add(images).div(2)


def saturating(images: Tensor) -> Tensor:
    """Return pixels behind a sigmoid that is saturated where they are black or white."""
    return torch.sigmoid(14 * (images - 0.5))


def contrast(images: Tensor) -> Tensor:
    """Return stretched pixels: the darkest and the brightest are black and white, with no slope."""
    return ((images - 0.08) / 0.84).clamp(0, 1)


class Step(nn.Module):
    """An activation without a useful slope; `soft` gives it the gradient of a ReLU, or of a clipped line."""

    def __init__(self, kind: str, *, soft: bool) -> None:
        """`kind` is "winners" (the fifth of the units that is largest; Xiao et al. 2020) or "sign"."""
        super().__init__()
        self.kind, self.soft = kind, soft

    def forward(self, units: Tensor) -> Tensor:
        """Return the activations."""
        if self.kind == "sign":
            return put(units.sign(), units.clamp(-1, 1)) if self.soft else units.sign() + 0 * units
        flat = units.flatten(1)
        least = flat.topk(max(1, flat.shape[1] // 5), dim=1).values[:, -1:]
        hard = torch.where(flat >= least, flat, torch.zeros_like(flat)).view(units.shape)
        return put(hard, torch.relu(units)) if self.soft else hard


@cache
def stepped(kind: str) -> nn.Module:
    """Return a network with such activations, trained with the soft gradient for signs and their own for winners."""
    return train(lambda: mlp(lambda: Step(kind, soft=kind == "sign")), PLAIN, seed=6)


def with_steps(kind: str, *, soft: bool) -> Build:
    """Return the build of `stepped(kind)` with or without the soft gradient."""

    def build(base: nn.Module, other: nn.Module, robust: nn.Module) -> nn.Module:
        network = copy.deepcopy(stepped(kind))
        for module in network.modules():
            if isinstance(module, Step):
                module.soft = soft
        return network

    return build


def _entry(name: str, before: Map, why: str, truth: Map | None = None) -> Defence:
    return Defence(
        name=name, family="shattered", build=behind(before), truth=behind(truth or straight(before)), why=why
    )


SHATTERED = (
    _entry("quantised-5", levels(5), "pixels of five levels: no gradient (Guo et al. 2018, bit depth)"),
    _entry("quantised-2", levels(2), "black and white pixels: no gradient (feature squeezing, Xu et al. 2018)"),
    _entry("straight-through-5", straight(levels(5)), "five levels with an identity gradient: steps are rounded away"),
    _entry("straight-through-2", straight(levels(2)), "black and white with an identity gradient"),
    _entry("sine-.02", sine(0.02, 400), "a fast sine on the input: shattered gradients (issue 20)"),
    _entry("sine-.05", sine(0.05, 1500), "a faster and larger sine"),
    _entry("sine-.01", sine(0.01, 300), "a small sine: slopes of -2 to 4"),
    _entry("smooth-stairs", stairs, "a staircase that is flat at the grey levels of clean images"),
    _entry("steep-stairs", steep, "steep sigmoids: the gradient is that of the few pixels that are near a step"),
    _entry("thermometer", thermometer, "switches without a gradient (Buckman et al. 2018; Athalye et al. 2018)"),
    _entry("jpeg", jpeg(0.04, torch.round), "rounded coefficients have no gradient (Guo et al. 2018)"),
    _entry("jpeg-soft", jpeg(0.04, soft_round), "coefficients rounded by a sine: slopes of 0 to 2"),
    _entry("median", median, "a median filter (Xu et al. 2018)", truth=median),
    _entry("median-detached", lambda images: median(images).detach() + 0 * images, "a median filter, no gradient",
           truth=median),
    _entry("saturating-input", saturating, "black and white pixels hardly have a slope", truth=saturating),
    _entry("clamp", lambda images: images.clamp(0, 1), "the slope of clamp at its bounds is 0 in torch 2.14"),
    _entry("contrast", contrast, "the darkest and the brightest pixels have no slope"),
    Defence(
        name="k-winners",
        family="shattered",
        build=with_steps("winners", soft=False),
        truth=with_steps("winners", soft=True),
        why="k-winners-take-all activations (Xiao et al. 2020; Tramer et al. 2020)",
    ),
    Defence(
        name="sign",
        family="shattered",
        build=with_steps("sign", soft=False),
        truth=with_steps("sign", soft=True),
        why="sign activations, which have no gradient (binarised networks)",
    ),
)  # fmt: skip
"""Defences of this kind."""
