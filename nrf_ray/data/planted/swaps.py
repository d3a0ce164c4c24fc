"""Examples whose parts were exchanged: one part removed, or two put together that contradict each other.

What a model says of these tells which part it uses, with nothing left to interpretation.
"""

import numpy as np

from nrf_ray.data.planted.draws import Ints, below
from nrf_ray.data.planted.generate import MODULES, Examples, with_noise
from nrf_ray.data.planted.parts import Array, Parts


def parts_of(examples: Examples) -> Parts:
    """Return what the examples are the sum of; their rest is zero."""
    return take_apart(examples, examples.images)


def take_apart(examples: Examples, changes: Array) -> Parts:
    """Return the parts of `changes` [n, c, h, w], which were made to the examples or are made of them."""
    found: Parts = MODULES[examples.spec.modality].take_apart(changes, examples.images)
    return found


def read_noise(examples: Examples, noise: Array) -> Ints:
    """Return the class that each noise part [n, c, h, w] is nearest to: the best linear classifier of noise parts."""
    read: Ints = MODULES[examples.spec.modality].read_noise(examples.spec, noise)
    return read


def without_noise(examples: Examples) -> Array:
    """Return the examples with their human part alone."""
    return parts_of(examples).human


def without_human(examples: Examples) -> Array:
    """Return the examples with their noise part alone, where nothing can be read."""
    bare: Array = blank(examples) + parts_of(examples).noise
    return bare


def blank(examples: Examples) -> Array:
    """Return the examples without either part: grey, or as many words that mean nothing."""
    grey: Array = MODULES[examples.spec.modality].blank(parts_of(examples).human)
    return grey


def contradicting(examples: Examples) -> tuple[Array, Ints]:
    """Return the examples with another noise part, of any class but that of the human part; and those classes [n]."""
    spec = examples.spec
    step = 1 + below(spec.seed, len(examples.labels), spec.classes - 1, "contradicting")
    classes = (examples.human + step) % spec.classes
    return with_noise(spec, np.asarray(parts_of(examples).human, np.float64), classes), classes
