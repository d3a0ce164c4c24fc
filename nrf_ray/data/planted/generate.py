"""A planted set as arrays, with the class that each part of each example shows."""

from dataclasses import dataclass
from types import ModuleType

import numpy as np
import numpy.typing as npt

from nrf_ray.data.planted import images, texts
from nrf_ray.data.planted.draws import Ints, below, shuffled, uniform
from nrf_ray.data.planted.parts import Array
from nrf_ray.data.planted.spec import Planted

MODULES: dict[str, ModuleType] = {"image": images, "colour": images, "text": texts}
"""Module that composes the examples of each modality and takes them apart."""


@dataclass(frozen=True, kw_only=True)
class Examples:
    """n planted examples."""

    spec: Planted
    """Parameters of the set."""
    images: npt.NDArray[np.float32]
    """[n, c, h, w] in [0, 1]: the sum of both parts."""
    labels: Ints
    """[n]"""
    human: Ints
    """Class that each human part shows, [n]."""
    noise: Ints
    """Class that each noise part shows, [n]."""

    def rows(self, chosen: Ints) -> "Examples":
        """Return the examples with the indices `chosen`."""
        return Examples(
            spec=self.spec,
            images=self.images[chosen],
            labels=self.labels[chosen],
            human=self.human[chosen],
            noise=self.noise[chosen],
        )


def generate(spec: Planted, split: str) -> Examples:
    """Return the examples of `split` (train or test)."""
    n, k, odds = {"train": spec.train, "test": spec.test}[split], spec.classes, spec.odds
    labels = shuffled(spec.seed, n, split, "label") % k
    drawn = uniform(spec.seed, n, split, "shows")
    human_shows = drawn < odds.p_human
    noise_shows = (drawn < odds.both) | (~human_shows & (drawn < odds.p_human + odds.p_noise - odds.both))
    human, noise = (
        np.where(shows, labels, (labels + 1 + below(spec.seed, n, k - 1, split, part)) % k)
        for part, shows in (("human", human_shows), ("noise", noise_shows))
    )
    readable = MODULES[spec.modality].human_parts(spec, human, split)
    return Examples(spec=spec, images=with_noise(spec, readable, noise), labels=labels, human=human, noise=noise)


def with_noise(spec: Planted, human: Array, classes: Ints) -> npt.NDArray[np.float32]:
    """Return examples [n, c, h, w] with these human parts, and with noise parts that show `classes` [n]."""
    composed: npt.NDArray[np.float32] = (human + MODULES[spec.modality].noise_parts(spec, classes, human)).astype(
        np.float32
    )
    return composed
