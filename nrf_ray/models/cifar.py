"""WideResNets and PreActResNets for 32 x 32 images, as the files of RobustBench's leaderboards need them.

No kept library has them (timm and torchvision have the ImageNet forms alone). Parameters have the names of the files.
Networks of one shape differ in details that no name shows, so each form is an architecture of its own:

    wrn_D_W              Zagoruyko & Komodakis 2016, as in TRADES: ReLU, padding on both sides
    wrn_D_W_silu         Gowal et al. 2020 (DeepMind): SiLU, and TensorFlow's padding where an image is halved
    preact_resnet18      He et al. 2016: the shortcut takes the activated input
    preact_resnet18_raw  Wong et al. 2020: the shortcut takes the input before it is activated
    preact_resnet18_bn   Rice et al. 2020: as the first, with BatchNorm and ReLU after the last block
    preact_resnet18_silu Gowal et al. 2021: SiLU, TensorFlow's padding, shortcuts of 3 x 3

Each function takes the channels and the height of an image, and returns a body and the width of its representation.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nrf_ray.models.small import pooled


def wide_resnet(channels: int, size: int, *, depth: int, widening: int) -> tuple[nn.Module, int]:
    """Return the WideResNet of `depth` layers, `widening` times as wide as a ResNet for CIFAR."""
    del size
    return _WideResNet(channels, (depth - 4) // 6, widening), 64 * widening


def wide_resnet_silu(channels: int, size: int, *, depth: int, widening: int) -> tuple[nn.Module, int]:
    """Return DeepMind's form of the WideResNet."""
    del size
    return _WideResNetSilu(channels, (depth - 4) // 6, widening), 64 * widening


def preact_resnet18(
    channels: int, size: int, *, raw_shortcut: bool = False, last_norm: bool = False
) -> tuple[nn.Module, int]:
    """Return the PreActResNet-18; see the module for its forms."""
    del size
    return _PreActResNet(channels, raw_shortcut=raw_shortcut, last_norm=last_norm), 512


def preact_resnet18_silu(channels: int, size: int) -> tuple[nn.Module, int]:
    """Return DeepMind's form of the PreActResNet-18."""
    del size
    return _PreActResNetSilu(channels), 512


def _same(images: Tensor, stride: int) -> Tensor:
    """Return `images` padded for a 3 x 3 convolution as TensorFlow pads: at the end alone if they are halved."""
    return functional.pad(images, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))


def _conv(inputs: int, outputs: int, stride: int = 1, *, kernel: int = 3, padding: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)


class _WideBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), _conv(inputs, outputs, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), _conv(outputs, outputs)
        self.convShortcut = None if inputs == outputs else _conv(inputs, outputs, stride, kernel=1, padding=0)

    def forward(self, images: Tensor) -> Tensor:
        active = self.bn1(images).relu()
        found = self.conv2(self.bn2(self.conv1(active)).relu())
        result: Tensor = (images if self.convShortcut is None else self.convShortcut(active)) + found
        return result


class _WideResNet(nn.Module):
    def __init__(self, channels: int, blocks: int, widening: int) -> None:
        super().__init__()
        self.conv1, inputs = _conv(channels, 16), 16
        for number, stride in ((1, 1), (2, 2), (3, 2)):
            outputs = 16 * widening * 2 ** (number - 1)
            layer = nn.Sequential(_WideBlock(inputs, outputs, stride))
            layer.extend(_WideBlock(outputs, outputs, 1) for _ in range(blocks - 1))
            self.add_module(f"block{number}", nn.ModuleDict({"layer": layer}))
            inputs = outputs
        self.bn1, self.pool = nn.BatchNorm2d(inputs), pooled()

    def forward(self, images: Tensor) -> Tensor:
        states = self.conv1(images)
        for number in (1, 2, 3):
            states = self.get_submodule(f"block{number}.layer")(states)
        features: Tensor = self.pool(self.bn1(states).relu())
        return features


class _WideBlockSilu(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.batchnorm_0, self.conv_0 = nn.BatchNorm2d(inputs), _conv(inputs, outputs, stride, padding=0)
        self.batchnorm_1, self.conv_1 = nn.BatchNorm2d(outputs), _conv(outputs, outputs)
        self.shortcut = None if inputs == outputs else _conv(inputs, outputs, stride, kernel=1, padding=0)

    def forward(self, images: Tensor) -> Tensor:
        active = functional.silu(self.batchnorm_0(images))
        found = self.conv_1(functional.silu(self.batchnorm_1(self.conv_0(_same(active, self.stride)))))
        result: Tensor = (images if self.shortcut is None else self.shortcut(active)) + found
        return result


class _WideResNetSilu(nn.Module):
    def __init__(self, channels: int, blocks: int, widening: int) -> None:
        super().__init__()
        self.init_conv, inputs = _conv(channels, 16), 16
        groups: list[nn.Module] = []
        for stride, outputs in ((1, 16 * widening), (2, 32 * widening), (2, 64 * widening)):
            block = nn.Sequential(_WideBlockSilu(inputs, outputs, stride))
            block.extend(_WideBlockSilu(outputs, outputs, 1) for _ in range(blocks - 1))
            groups.append(nn.ModuleDict({"block": block}))
            inputs = outputs
        self.layer = nn.ModuleList(groups)
        self.batchnorm, self.pool = nn.BatchNorm2d(inputs), pooled()

    def forward(self, images: Tensor) -> Tensor:
        states = self.init_conv(images)
        for number in range(len(self.layer)):
            states = self.get_submodule(f"layer.{number}.block")(states)
        features: Tensor = self.pool(functional.silu(self.batchnorm(states)))
        return features


class _PreActBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, *, raw_shortcut: bool) -> None:
        super().__init__()
        self.raw_shortcut = raw_shortcut
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), _conv(inputs, outputs, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), _conv(outputs, outputs)
        widens = stride != 1 or inputs != outputs
        self.shortcut = nn.Sequential(_conv(inputs, outputs, stride, kernel=1, padding=0)) if widens else None

    def forward(self, images: Tensor) -> Tensor:
        active = self.bn1(images).relu()
        passed = images if self.shortcut is None else self.shortcut(images if self.raw_shortcut else active)
        result: Tensor = self.conv2(self.bn2(self.conv1(active)).relu()) + passed
        return result


class _PreActResNet(nn.Module):
    def __init__(self, channels: int, *, raw_shortcut: bool, last_norm: bool) -> None:
        super().__init__()
        self.conv1, inputs = _conv(channels, 64), 64
        for number, (outputs, stride) in enumerate(WIDTHS, start=1):
            blocks = ((inputs, outputs, stride), (outputs, outputs, 1))
            self.add_module(
                f"layer{number}", nn.Sequential(*(_PreActBlock(*one, raw_shortcut=raw_shortcut) for one in blocks))
            )
            inputs = outputs
        self.bn = nn.BatchNorm2d(inputs) if last_norm else None
        self.pool = pooled()

    def forward(self, images: Tensor) -> Tensor:
        states = self.conv1(images)
        for number in range(1, len(WIDTHS) + 1):
            states = self.get_submodule(f"layer{number}")(states)
        features: Tensor = self.pool(states if self.bn is None else torch.relu(self.bn(states)))
        return features


WIDTHS: Sequence[tuple[int, int]] = ((64, 1), (128, 2), (256, 2), (512, 2))
"""Channels and first stride of each group of blocks of a ResNet-18."""


class _PreActBlockSilu(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.batchnorm_0, self.conv_2d_1 = nn.BatchNorm2d(inputs), _conv(inputs, outputs, stride, padding=0)
        self.batchnorm_1, self.conv_2d_2 = nn.BatchNorm2d(outputs), _conv(outputs, outputs)
        widens = stride != 1 or inputs != outputs
        self.shortcut = _conv(inputs, outputs, stride, padding=0) if widens else None

    def forward(self, images: Tensor) -> Tensor:
        active = functional.silu(self.batchnorm_0(images))
        passed = images if self.shortcut is None else self.shortcut(_same(images, self.stride))
        found = functional.silu(self.batchnorm_1(self.conv_2d_1(_same(active, self.stride))))
        result: Tensor = self.conv_2d_2(found) + passed
        return result


class _PreActResNetSilu(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_2d, inputs = _conv(channels, 64), 64
        for number, (outputs, stride) in enumerate(WIDTHS):
            blocks = (_PreActBlockSilu(inputs, outputs, stride), _PreActBlockSilu(outputs, outputs, 1))
            self.add_module(f"layer_{number}", nn.Sequential(*blocks))
            inputs = outputs
        self.batchnorm, self.pool = nn.BatchNorm2d(inputs), pooled()

    def forward(self, images: Tensor) -> Tensor:
        states = self.conv_2d(images)
        for number in range(len(WIDTHS)):
            states = self.get_submodule(f"layer_{number}")(states)
        features: Tensor = self.pool(functional.silu(self.batchnorm(states)))
        return features
