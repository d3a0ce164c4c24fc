"""Which rows of files that know no splits are for testing, and in what order rows are drawn: the same for ever."""

from typing import TYPE_CHECKING

from nrf_ray.seeding import derive_seed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

TEST_SHARE = 6
"""Of files that know no splits, one row in this many is for testing."""


def split_rows(n: int) -> "tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]":
    """Return which of n rows are for training and which for testing, ascending each."""
    import numpy as np

    order, tests = mixed(n, "split"), n // TEST_SHARE
    return np.sort(order[tests:]), np.sort(order[:tests])


def mixed(n: int, use: str) -> "npt.NDArray[np.int64]":
    """Return 0 .. n-1 in one fixed order, made of raw generator output, which numpy keeps the same for ever."""
    import numpy as np

    return np.argsort(np.random.PCG64(derive_seed(0, "datasets", use)).random_raw(n), kind="stable")
