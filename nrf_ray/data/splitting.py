"""The choice of test rows in files without splits, and the order in which rows are drawn: fixed for ever."""

from typing import TYPE_CHECKING

from nrf_ray.seeding import derive_seed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

TEST_SHARE = 6
"""In files without splits, one row in this many is for testing."""


def split_rows(n: int) -> "tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]":
    """Return the indices of the training rows and of the test rows among n rows, both ascending."""
    import numpy as np

    order, tests = mixed(n, "split"), n // TEST_SHARE
    return np.sort(order[tests:]), np.sort(order[:tests])


def mixed(n: int, use: str) -> "npt.NDArray[np.int64]":
    """Return a fixed permutation of 0 .. n-1, made from raw generator output, which numpy never changes."""
    import numpy as np

    return np.argsort(np.random.PCG64(derive_seed(0, "datasets", use)).random_raw(n), kind="stable")
