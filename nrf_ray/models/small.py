"""Small convolutional networks in the families of the paper's Figure 3, under 200k parameters each.

They train in seconds on one CPU core at 8x8 pixels and in a minute at 32x32, where the stem halves the image. Each
function takes the channels and the height of an image, and returns a body from images to representations and the width
of the representations.
"""

import torch
from torch import Tensor, nn


def conv(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Return convolution, BatchNorm, ReLU with 'same' padding."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def pooled(*layers: nn.Module) -> nn.Sequential:
    """Return `layers` followed by global average pooling."""
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def stem_stride(size: int) -> int:
    """Return the stride of the first convolution: 2 for images of 24 pixels and more, which saves 3/4 of the work."""
    return 2 if size >= 24 else 1


def vgg(channels: int, size: int) -> tuple[nn.Module, int]:
    """Return plain stacks of 3x3 convolutions with max-pooling between, and one hidden fully connected layer."""
    body = pooled(
        conv(channels, 16, stride=stem_stride(size)),
        conv(16, 16),
        nn.MaxPool2d(2),
        conv(16, 32),
        conv(32, 32),
        nn.MaxPool2d(2),
        conv(32, 64),
    )
    return nn.Sequential(body, nn.Linear(64, 128), nn.ReLU(inplace=True)), 128


class InceptionBlock(nn.Module):
    """Four branches side by side: 1x1, 3x3, two 3x3, pooling; their channels concatenated."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        quarter = outputs // 4
        self.branches = nn.ModuleList(
            [
                conv(inputs, quarter, kernel=1),
                nn.Sequential(conv(inputs, quarter, kernel=1), conv(quarter, quarter)),
                nn.Sequential(conv(inputs, quarter, kernel=1), conv(quarter, quarter), conv(quarter, quarter)),
                nn.Sequential(nn.AvgPool2d(3, 1, 1), conv(inputs, quarter, kernel=1)),
            ]
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return [b, outputs, h, w]."""
        return torch.cat([branch(images) for branch in self.branches], dim=1)


def inception(channels: int, size: int) -> tuple[nn.Module, int]:
    """Return a stem and three Inception blocks."""
    body = pooled(
        conv(channels, 16, stride=stem_stride(size)),
        InceptionBlock(16, 32),
        nn.MaxPool2d(2),
        InceptionBlock(32, 48),
        nn.MaxPool2d(2),
        InceptionBlock(48, 64),
    )
    return body, 64


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = conv(inputs, outputs, stride=stride)
        self.second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.activation = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        """Return [b, outputs, h / stride, w / stride]."""
        activated: Tensor = self.activation(self.second(self.first(images)) + self.shortcut(images))
        return activated


def resnet(channels: int, size: int, blocks: tuple[int, ...], width: int = 16) -> tuple[nn.Module, int]:
    """Return groups of residual blocks; each group after the first halves the image and doubles the width."""
    layers: list[nn.Module] = [conv(channels, width, stride=stem_stride(size))]
    inputs = width
    for level, count in enumerate(blocks):
        outputs = width * 2**level
        for index in range(count):
            layers.append(ResidualBlock(inputs, outputs, stride=2 if level > 0 and index == 0 else 1))
            inputs = outputs
    return pooled(*layers), inputs


def bottleneck(channels: int, size: int, units: int = 16) -> tuple[nn.Module, int]:
    """Return the smallest resnet with a linear layer of `units` before the head.

    Its representation cannot hold the image. Matching a wider representation of small images inverts it, and D_R and
    D_NR both become D again.
    """
    body, width = resnet(channels, size, (1, 1, 1))
    return nn.Sequential(body, nn.Linear(width, units)), units


class DenseLayer(nn.Module):
    """A 3x3 convolution whose output is appended to its input."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.grow = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, growth, 3, 1, 1, bias=False))

    def forward(self, images: Tensor) -> Tensor:
        """Return [b, inputs + growth, h, w]."""
        return torch.cat([images, self.grow(images)], dim=1)


def densenet(channels: int, size: int, blocks: tuple[int, ...] = (2, 2, 2), growth: int = 16) -> tuple[nn.Module, int]:
    """Return blocks of dense layers with halving transitions between."""
    width = 2 * growth
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, stem_stride(size), 1, bias=False)]
    for level, count in enumerate(blocks):
        if level > 0:
            layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width // 2, 1, bias=False), nn.AvgPool2d(2)]
            width //= 2
        for _ in range(count):
            layers.append(DenseLayer(width, growth))
            width += growth
    return pooled(*layers, nn.BatchNorm2d(width), nn.ReLU()), width
