"""The architectures that a sweep can name, without the code that builds them (that is `zoo`)."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One architecture."""

    name: str
    """Name in tables and on the command line."""
    family: str
    """The architecture of the paper that it stands for."""
    mmacs: float
    """Millions of multiply-adds of one forward pass at 8x8 pixels, for cost estimates."""


ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        Architecture(name="vgg_s", family="VGG-16", mmacs=0.46),
        Architecture(name="inception_s", family="Inception-v3", mmacs=0.28),
        Architecture(name="resnet_s", family="ResNet-18", mmacs=0.76),
        Architecture(name="resnet_m", family="ResNet-50", mmacs=1.65),
        Architecture(name="resnet_b", family="ResNet-18", mmacs=0.76),
        Architecture(name="densenet_s", family="DenseNet", mmacs=1.15),
    )
}
"""Every architecture, in the order of the paper's Figure 3."""
