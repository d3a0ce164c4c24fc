"""What a stage is expected to cost, in seconds of one CPU core, from its config alone.

Fitted by eye to runs on 2 cores of an AVX-512 server; good to a factor of two, enough to order the work and to plan.
"""

from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.models.catalogue import ARCHITECTURES

OVERHEAD = 0.05
"""Opening inputs, committing, handing out."""


def image_seconds(arch: str, info: DatasetInfo) -> float:
    """Return the seconds of one forward and backward pass per image of `info` through `arch`."""
    _, height, width = info.shape
    return 3e-5 + 9e-5 * ARCHITECTURES[arch].mmacs * height * width / 64


def attack_seconds(arch: str, info: DatasetInfo, images: int, steps: int) -> float:
    """Return the seconds of an attack of `steps` steps on `images` images."""
    return OVERHEAD + 0.6 * steps * images * image_seconds(arch, info)
