"""Networks for tests: linear ones, and ones with BatchNorm that does something, with images for them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.models.zoo import build


class Linear(nn.Module):
    """Logits W x + b of images in [0, 1], with given W [k, d]: every attack on it has a closed form."""

    def __init__(self, weight: Tensor, bias: Sequence[float] | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(len(weight)) if bias is None else torch.tensor(bias))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        return images.flatten(1) @ self.weight.T + self.bias


def two_classes(count: int, eps: float) -> tuple[Linear, Tensor, Tensor, Tensor]:
    """Return a linear network of two classes, grey images [count, 1, 4, 4], their labels, and which can be fooled.

    The labels are its own, and `eps` is in linf.
    """
    generator = torch.Generator().manual_seed(0)
    model = Linear(torch.randn(2, 16, generator=generator))
    images = 0.5 + 0.2 * (torch.rand(count, 1, 4, 4, generator=generator) - 0.5)
    logits, length = model(images).detach(), (model.weight[0] - model.weight[1]).abs().sum().detach()
    return model, images, logits.argmax(dim=1), (logits[:, 0] - logits[:, 1]).abs() < eps * length


def optimum(model: Linear, images: Tensor, labels: Tensor, threat: ThreatModel, generator: torch.Generator) -> Tensor:
    """Return the adversarial images of a linear network of two classes that are best in linf."""
    del generator
    towards = (model.weight[1 - labels] - model.weight[labels]).sign().view_as(images)
    return images + threat.eps * towards


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
