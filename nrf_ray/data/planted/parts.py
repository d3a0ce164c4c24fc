"""An example as the sum of its parts: a human part, a noise part, and a rest that planted examples do not have.

All three are orthogonal projections, so their squared lengths add up, and a perturbation has shares of its energy in
each. Planted values are multiples of 2**-20 below 1, where float32 adds and halves without rounding: a planted example
is taken apart to the bit.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]
"""Examples or parts of them, [n, c, h, w]."""

LATTICE = 2.0**-20


class Parts(NamedTuple):
    """What an example or a perturbation is the sum of, [n, c, h, w] each."""

    human: Array
    """What a person reads."""
    noise: Array
    """What a person does not see."""
    rest: Array
    """What no planted example has."""


class Energy(NamedTuple):
    """Shares of a perturbation's squared l2 norm, [n] each; they add up to 1."""

    human: Array
    noise: Array
    rest: Array


def on_lattice(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return numbers rounded to multiples of 2**-20."""
    rounded: npt.NDArray[np.float64] = np.round(np.asarray(values, np.float64) / LATTICE) * LATTICE
    return rounded


def energy(parts: Parts) -> Energy:
    """Return how the squared length of each perturbation is shared out; NaN for a row of zeros."""
    squares = np.stack([np.square(part.astype(np.float64)).sum(axis=(1, 2, 3)) for part in parts])
    with np.errstate(invalid="ignore"):
        return Energy(*squares / squares.sum(axis=0))
