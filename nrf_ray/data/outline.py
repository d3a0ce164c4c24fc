"""What readers of files have in common: what they find, what they hand out, and what they refuse."""

import zlib
from array import array
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from nrf_ray.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from nrf_ray.data.embeddings import Embedding

Split = Literal["train", "test"]
Kind = Literal["images", "texts"]

MAX_CLASSES = 2**16
BATCH_ROWS = 1024


@dataclass(frozen=True, kw_only=True)
class Outline:
    """What files hold, as far as planning needs it."""

    shape: tuple[int, int, int]
    """Channels, height, width; of texts 1, tokens, coordinates of a token."""
    num_classes: int
    """Number of classes k."""
    num_train: int
    """Rows of the training split; of everything, where the files know no splits."""
    num_test: int
    """Rows of the test split; 0 where the files have none."""
    kind: Kind = "images"
    """What a row is."""
    classes: tuple[str, ...] = ()
    """Names of the classes, in the order of their labels; empty where labels are numbers alone."""
    labels: tuple[str, str] = ("", "")
    """Labels of the training and of the test rows, as `pack` packs them; empty for a split without rows."""
    by_character: int = 0
    """Texts in a script without spaces, whose words are single characters."""

    def rows(self, split: Split) -> int:
        """Return the number of rows of `split`."""
        return self.num_train if split == "train" else self.num_test


class Batch(NamedTuple):
    """Some rows, in order."""

    images: "npt.NDArray[Any]"
    """[b, c, h, w] of uint8; of texts [b], the texts themselves."""
    labels: "npt.NDArray[np.int64]"
    """[b]"""


NUMBER, TEXT, NONE = "number", "text", "none"


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What a name of files says in brackets about how they are read; empty where it says nothing."""

    classes: str = ""
    """Order of class folders that are called by numbers: "number", or "text", in which 10 stands before 2."""
    label: str = ""
    """Name of the column with the labels."""
    splits: str = ""
    """"none" where no name of a file or folder stands for a split."""

    def __str__(self) -> str:
        """Return them as they are written in a name."""
        return "".join(f"[{name}={value}]" for name, value in vars(self).items() if value)


AS_IS = Choices()
"""No choice was made."""

Rows = Any
"""Row numbers [n] within a split, ascending, as an int64 array."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """How one kind of files is found, outlined and read. All three take the path that the user gave."""

    files: Callable[[Path], Sequence[Path]]
    """Every file that is read, in a fixed order; refuses with ConfigError where one is missing."""
    outline: Callable[[Path], Outline]
    """What the files hold; without torch wherever it can be."""
    read: Callable[[Path, Split, Rows], Iterator[Batch]]
    """Chosen rows of a split."""
    version: int = 1
    """Of the rule by which bytes become pixels and labels; part of the content's digest."""
    known: bool = False
    """A set with a name of its own, rather than a kind of files."""
    listed: bool = True
    """Named in the list of what is known."""
    splits: bool = False
    """Without a test split of its own, one row in six becomes it."""
    outline_whole: Callable[[Path], Outline] | None = None
    """The outline where none does, because other files are tested on; None where that changes nothing."""
    places: tuple[Callable[[], Path], ...] = ()
    """Where a known set is looked for."""
    remedy: str = ""
    """How a known set gets there."""
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    """Mean and std per channel that the paper uses; else they are computed from the training pixels."""
    embedding: "Embedding | None" = None
    """How texts become vectors; None for images."""
    embedded_by: "Callable[[Embedding], Format] | None" = None
    """The same files with another embedding; None for images."""
    chosen_by: "Callable[[Choices], Format] | None" = None
    """The same files, read as a name says in brackets; None where there is nothing to choose."""
    choices: tuple[str, ...] = ()
    """Those fields of `Choices` that `chosen_by` heeds."""
    passed_over: Callable[[Path], Sequence[str]] | None = None
    """Files that are not read, for people; None for a known set, whose files are named."""


def pack(labels: Sequence[int]) -> str:
    """Return `labels`, all from 0 to `MAX_CLASSES` - 1, as a short text."""
    return b64encode(zlib.compress(array("H", [*labels]).tobytes(), 1)).decode()


def unpack(packed: str) -> "array[int]":
    """Return the labels that `pack` packed."""
    return array("H", zlib.decompress(b64decode(packed)) if packed else b"")


def count_classes(labels: Iterable[int], where: Path) -> int:
    """Return k where the training labels are exactly 0 .. k-1, or raise ConfigError that says what is wrong."""
    found = sorted(set(labels))
    if len(found) < 2:
        raise ConfigError(f"{where} has {len(found)} classes in its training rows; there must be two at least")
    if found[0] < 0 or found[-1] >= MAX_CLASSES:
        raise ConfigError(f"{where} has labels from {found[0]} to {found[-1]}; labels are 0, 1, 2, ...")
    missing = next((label for label, there in enumerate(found) if label != there), None)
    if missing is not None:
        raise ConfigError(
            f"{where} has labels up to {found[-1]}, but no training row has label {missing}; number the classes "
            "0, 1, 2, ... without a gap"
        )
    return len(found)


def classes_of(train: Sequence[int], test: Sequence[int], where: Path) -> int:
    """Return k of the labels of both splits, or raise ConfigError where they do not fit together.

    Of files that have test rows alone, k is one more than the largest label.
    """
    if test and not train:
        if min(test) < 0 or max(test) >= MAX_CLASSES:
            raise ConfigError(f"{where} has labels from {min(test)} to {max(test)}; labels are 0, 1, 2, ...")
        return max(test) + 1
    num_classes = count_classes(train, where)
    check_labels(test, num_classes, where)
    return num_classes


def check_labels(labels: Iterable[int], num_classes: int, where: Path) -> None:
    """Raise ConfigError where a label is none of 0 .. num_classes-1."""
    wrong = set(labels) - set(range(num_classes))
    if wrong:
        raise ConfigError(
            f"{where} has a row with label {min(wrong)}, which no training row has; the labels of its classes are 0 to "
            f"{num_classes - 1}. Take such rows out, or say in a column `split` which rows are for training"
        )


def in_batches(images: "npt.NDArray[np.uint8]", labels: "npt.NDArray[np.int64]", rows: Rows) -> Iterator[Batch]:
    """Yield `rows` of arrays that are in memory already."""
    for start in range(0, len(rows), BATCH_ROWS):
        chosen = rows[start : start + BATCH_ROWS]
        yield Batch(images[chosen], labels[chosen].astype("int64"))
