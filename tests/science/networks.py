"""Networks with BatchNorm that does something, and images for them, for tests of the engine."""

import torch
from torch import nn

from nrf_ray.models.zoo import build


def with_statistics(network: nn.Module) -> nn.Module:
    """Give every BatchNorm of `network` other statistics and weights than the ones that change nothing."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.1, generator=generator)
    return network


def made(arch: str, channels: int = 1, size: int = 8) -> nn.Module:
    network = build(
        arch, shape=(channels, size, size), num_classes=10, mean=(0.3,) * channels, std=(0.4,) * channels, seed=0
    )
    return with_statistics(network)


def pictures(n: int = 6, channels: int = 1, size: int = 8) -> torch.Tensor:
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(1))
