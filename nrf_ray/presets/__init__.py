"""Presets: axes and recipes that are known to work within one budget, or that the paper used.

`preset` defines a preset. `small`, `text` and `planted` hold the presets for CPUs; all their numbers were measured
before they were written down. `paper` holds the paper's own settings.
"""

from nrf_ray.errors import Registry
from nrf_ray.presets.paper import CIFAR10, RESTRICTED_IMAGENET
from nrf_ray.presets.planted import PLANTED_COLOUR, PLANTED_IMAGE, PLANTED_TEXT
from nrf_ray.presets.preset import Preset as Preset
from nrf_ray.presets.small import CIFAR10_SMALL, FASHION, LAPTOP, SMOKE
from nrf_ray.presets.text import TEXT

PRESETS: Registry[Preset] = Registry.of(
    "preset",
    (
        *(LAPTOP, SMOKE, FASHION, CIFAR10_SMALL, TEXT, PLANTED_IMAGE, PLANTED_COLOUR, PLANTED_TEXT),
        *(CIFAR10, RESTRICTED_IMAGENET),
    ),
)
"""Every preset; the first is the default."""
