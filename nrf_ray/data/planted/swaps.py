"""Examples with changed parts: one part removed, or two parts combined that contradict each other.

A model's predictions for these examples show directly which part it uses.
"""

import numpy as np

from nrf_ray.data.planted.draws import Ints, below
from nrf_ray.data.planted.generate import MODULES, Examples, with_noise
from nrf_ray.data.planted.parts import Array, Parts


def parts_of(examples: Examples) -> Parts:
    """Return the parts of the examples; their rest is zero."""
    return take_apart(examples, examples.images)


def take_apart(examples: Examples, changes: Array) -> Parts:
    """Return the parts of `changes` [n, c, h, w]: perturbations of the examples, or images made from them."""
    found: Parts = MODULES[examples.spec.modality].take_apart(changes, examples.images)
    return found


def read_noise(examples: Examples, noise: Array) -> Ints:
    """Return the nearest class of each noise part [n, c, h, w]: the best linear classifier of noise parts."""
    read: Ints = MODULES[examples.spec.modality].read_noise(examples.spec, noise)
    return read


def without_noise(examples: Examples) -> Array:
    """Return the examples with their human part alone."""
    return parts_of(examples).human


def without_human(examples: Examples) -> Array:
    """Return the examples with their noise part alone, on a blank human part."""
    bare: Array = blank(examples) + parts_of(examples).noise
    return bare


def blank(examples: Examples) -> Array:
    """Return the examples without either part: grey, or as many words without a meaning."""
    grey: Array = MODULES[examples.spec.modality].blank(parts_of(examples).human)
    return grey


def contradicting(examples: Examples) -> tuple[Array, Ints]:
    """Return the examples with noise parts of any class except the human part's, and these noise classes [n]."""
    spec = examples.spec
    step = 1 + below(spec.seed, len(examples.labels), spec.classes - 1, "contradicting")
    classes = (examples.human + step) % spec.classes
    return with_noise(spec, np.asarray(parts_of(examples).human, np.float64), classes), classes
