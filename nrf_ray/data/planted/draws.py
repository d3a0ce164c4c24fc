"""Random numbers that stay the same for ever, with a separate stream for each column of a set.

Numpy may change how its generators make normal or bounded numbers, but never their raw output, so all numbers are made
from the raw output. A stream has a name, and its i-th number belongs to row i, whatever else is sampled.
"""

import numpy as np
import numpy.typing as npt

from nrf_ray.seeding import derive_seed

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def uniform(seed: int, n: int, *names: str) -> Floats:
    """Return n numbers in [0, 1), multiples of 2**-53, from the stream called `names`."""
    raw = np.random.PCG64(derive_seed(seed, "planted", *names)).random_raw(n)
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53


def below(seed: int, n: int, bound: int | Ints, *names: str) -> Ints:
    """Return n whole numbers from 0 to `bound` - 1; `bound` may differ between rows."""
    return (uniform(seed, n, *names) * bound).astype(np.int64)


def shuffled(seed: int, n: int, *names: str) -> Ints:
    """Return 0 .. n-1 in random order."""
    return np.argsort(uniform(seed, n, *names), kind="stable").astype(np.int64)
