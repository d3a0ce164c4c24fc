"""Test rows that are training rows too: equal pixels, or equal texts.

They are counted once, when a set is prepared; a model has seen them, so more than `MOST` of the test rows are refused.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nrf_ray.data.facts import noted
from nrf_ray.data.located import Located
from nrf_ray.data.portions import Portion
from nrf_ray.data.whole import mapped
from nrf_ray.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MOST = 0.01
"""Share of the test rows that may be training rows too."""
BLOCK = 1024


def count_shared(located: Located, folder: Path) -> int:
    """Return how many test rows of `located`, prepared in `folder`, are training rows too; counted once, remembered."""
    return noted(f"{located.digest}.shared", lambda: [_counted(located, folder)])[0]


def check_shared(located: Located, count: int) -> None:
    """Raise ConfigError where more than `MOST` of the test rows are training rows too."""
    total = located.test.count
    if count > MOST * total:
        raise ConfigError(
            f"dataset {located.name.title}: {count} of {total} test rows are training rows too ({count / total:.1%}; "
            f"at most {MOST:.0%} may be): take them out of one split or, if no file says which rows are for testing, "
            "leave one of all equal rows"
        )


def shared(train: "npt.NDArray[Any]", test: "npt.NDArray[Any]") -> int:
    """Return how many rows of `test` [m, ...] are equal to a row of `train` [n, ...], arrays of one type."""
    import numpy as np

    if not len(train) or not len(test):
        return 0
    ours, theirs = _sums(train), _sums(test)
    alike = np.flatnonzero(np.isin(theirs, ours))  # all equal rows, and hardly any other
    if not len(alike):
        return 0
    known = {_digest(train[row]) for row in np.flatnonzero(np.isin(ours, theirs[alike]))}
    return sum(_digest(test[row]) in known for row in alike)


def _counted(located: Located, folder: Path) -> int:
    if located.kind == "texts":
        known = set(_texts(located.train))
        return sum(text in known for text in _texts(located.test))
    return shared(mapped(folder, "train_images"), mapped(folder, "test_images"))


def _texts(portion: Portion) -> Iterator[str]:
    for batch in portion.files.format.read(portion.files.path, portion.split, portion.rows()):
        yield from batch.images


def _sums(rows: "npt.NDArray[Any]") -> "npt.NDArray[np.uint64]":
    """Return a number for each row, [n]: its words of 8 bytes, each times a fixed odd number, added modulo 2**64."""
    import numpy as np

    width = rows[0].nbytes
    words = -(-width // 8)
    factors = np.random.PCG64(0).random_raw(words) | np.uint64(1)
    sums = np.empty(len(rows), np.uint64)
    for start in range(0, len(rows), BLOCK):
        block = np.ascontiguousarray(rows[start : start + BLOCK]).reshape(-1).view(np.uint8).reshape(-1, width)
        padded = np.pad(block, ((0, 0), (0, 8 * words - width))) if width % 8 else block
        sums[start : start + BLOCK] = np.ascontiguousarray(padded).view(np.uint64) @ factors
    return sums


def _digest(row: "npt.NDArray[Any]") -> bytes:
    return hashlib.sha256(row.tobytes()).digest()
