"""An example as the sum of its parts: a human part, a noise part, and a rest that planted examples do not have.

All three are orthogonal projections, so their squared lengths add up, and each has a share of a perturbation's energy.
Planted values are multiples of 2**-20 below 1, which float32 adds and halves without rounding, so a planted example is
separated exactly, to the bit.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]
"""Examples or parts of them, [n, c, h, w]."""

LATTICE = 2.0**-20


class Parts(NamedTuple):
    """Parts whose sum is an example or a perturbation, [n, c, h, w] each."""

    human: Array
    """Part that people can read."""
    noise: Array
    """Part that people cannot see."""
    rest: Array
    """Rest, which is zero in planted examples."""


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
    """Return the shares of each perturbation's squared l2 norm in its parts; NaN for a row of zeros."""
    squares = np.stack([np.square(part.astype(np.float64)).sum(axis=(1, 2, 3)) for part in parts])
    with np.errstate(invalid="ignore"):
        return Energy(*squares / squares.sum(axis=0))
