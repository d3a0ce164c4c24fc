"""Test rows that are training rows too: equal pixels, or texts of equal words.

They are counted once, when a set is prepared. Models have seen them in training, so a set in which they are more than
`MOST` of the test rows is refused.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nrf_ray.data.embeddings import words_of
from nrf_ray.data.facts import known_numbers, noted
from nrf_ray.data.located import Located
from nrf_ray.data.portions import Portion
from nrf_ray.data.whole import mapped
from nrf_ray.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MOST = 0.01
"""Largest share of the test rows that may be training rows too."""
BLOCK = 1024
"""Rows of an array that is larger than memory that are read at a time."""
ODD = 0x9E3779B97F4A7C15
"""Number whose powers modulo 2**64 are far apart: 2**64 divided by the golden ratio, to the next odd number."""


def count_shared(located: Located, folder: Path) -> int:
    """Return how many test rows of `located`, prepared in `folder`, are training rows too; counted only once."""
    return noted(noted_as(located.digest), lambda: [_counted(located, folder)])[0]


def known_shared(digest: str) -> int | None:
    """Return what `count_shared` has found before for the dataset of this digest, or None if it was never counted."""
    known = known_numbers(noted_as(digest))
    return known[0] if known else None


def count_trained_on(train: Located, train_folder: Path, test: Located, test_folder: Path) -> int:
    """Return how many test rows of images `test` are training rows of `train`, both prepared; counted only once."""

    def counted() -> list[int]:
        return [shared(mapped(train_folder, "train_images"), mapped(test_folder, "test_images"))]

    return noted(f"{train.digest}.{test.digest}.shared", counted)[0]


def check_shared(located: Located, count: int, trained_on: str = "") -> None:
    """Raise ConfigError if more than `MOST` of the test rows are training rows too, of the dataset `trained_on`."""
    total = located.test.count
    if count > MOST * total:
        where = f" of {trained_on}" if trained_on else ""
        raise ConfigError(
            f"dataset {located.name.title}: {count} of {total} test rows are training rows{where} too "
            f"({count / total:.1%}; at most {MOST:.0%} may be): remove them from one split or, if no file says which "
            "rows are for testing, keep only one of all equal rows"
        )


def note_shared(digest: str, count: int) -> None:
    """Remember that `count_shared` has found `count` for the dataset of this digest, on another machine."""
    noted(noted_as(digest), lambda: [count])


def note_sums(located: Located, train: "npt.NDArray[np.uint64]", test: "npt.NDArray[np.uint64]") -> None:
    """Remember that no row of `located` is in both splits if the `row_sums` of its images have no common value."""
    if located.kind == "images" and not _common(train, test):
        noted(noted_as(located.digest), lambda: [0])


def shared(train: "npt.NDArray[Any]", test: "npt.NDArray[Any]") -> int:
    """Return how many rows of `test` [m, ...] equal a row of `train` [n, ...]; both arrays have the same type."""
    ours, theirs = (_sums(rows) for rows in (train, test))
    common = _common(ours, theirs)  # sums of all equal rows, and of hardly any other rows
    known = {_digest(train[row]) for row, found in enumerate(ours.tolist() if common else ()) if found in common}
    return sum(found in common and _digest(test[row]) in known for row, found in enumerate(theirs.tolist()))


def row_sums(rows: "npt.NDArray[Any]") -> "npt.NDArray[np.uint64]":
    """Return a number for each row, [n]: its words of 8 bytes, each times a power of `ODD`, added modulo 2**64."""
    import numpy as np

    count = len(rows)
    flat = np.ascontiguousarray(rows).reshape(count, -1).view(np.uint8) if count else np.zeros((0, 8), np.uint8)
    words = -(-flat.shape[1] // 8)
    if flat.shape[1] % 8:
        flat = np.pad(flat, ((0, 0), (0, 8 * words - flat.shape[1])))
    factors = np.cumprod(np.full(words, ODD, dtype=np.uint64))
    sums: npt.NDArray[np.uint64] = np.einsum("ij,j->i", flat.view(np.uint64), factors)
    return sums


def _counted(located: Located, folder: Path) -> int:
    if located.kind == "texts":
        known = set(_texts(located.train))
        return sum(words in known for words in _texts(located.test))
    return shared(mapped(folder, "train_images"), mapped(folder, "test_images"))


def noted_as(digest: str) -> str:
    """Return the name under which the count is remembered; another name than of old, when equal strings counted."""
    return f"{digest}.shared-rows"


def _texts(portion: Portion) -> Iterator[bytes]:
    """Yield a digest of the words of each text: texts that differ only in case or blanks count as equal."""
    for batch in portion.files.format.read(portion.files.path, portion.split, portion.rows()):
        for text in batch.images:
            yield hashlib.sha256(" ".join(words_of(text)).encode()).digest()


def _common(ours: "npt.NDArray[np.uint64]", theirs: "npt.NDArray[np.uint64]") -> set[int]:
    import numpy as np

    return set(np.intersect1d(ours, theirs).tolist())


def _sums(rows: "npt.NDArray[Any]") -> "npt.NDArray[np.uint64]":
    """Return `row_sums` of arrays that may be larger than memory."""
    import numpy as np

    parts = [row_sums(rows[start : start + BLOCK]) for start in range(0, len(rows), BLOCK)]
    return np.concatenate([np.zeros(0, np.uint64), *parts])


def _digest(row: "npt.NDArray[Any]") -> bytes:
    return hashlib.sha256(row.tobytes()).digest()
