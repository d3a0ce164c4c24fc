"""Types and checks shared by the readers of files: outlines, batches, formats, and the rules for labels."""

import math
import zlib
from array import array
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn

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
    """Shape, classes and sizes of a dataset's files: all that planning needs."""

    shape: tuple[int, int, int]
    """Channels, height, width; for texts 1, tokens, coordinates of a token."""
    num_classes: int
    """Number of classes k."""
    num_train: int
    """Rows of the training split, or all rows if the files have no splits."""
    num_test: int
    """Rows of the test split; 0 if the files have no test split."""
    kind: Kind = "images"
    """Kind of the examples."""
    classes: tuple[str, ...] = ()
    """Names of the classes, in the order of their labels; empty if labels are only numbers."""
    labels: tuple[str, str] = ("", "")
    """Labels of the training and of the test rows, encoded by `pack`; empty for a split without rows."""
    newly_split: bool = False
    """Whether the names of the files put rows into another split than older versions did (`members.old_split`)."""
    by_character: int = 0
    """Number of texts in a script without spaces, whose words are single characters."""
    newly_cut: bool = False
    """Whether versions before marks belonged to their letters cut a text into other words (`Embedding.newly_cut`)."""
    pooled: bool = False
    """Whether the test rows are rows for validation and rows for testing, by their names."""

    @staticmethod
    def of(body: dict[str, Any]) -> "Outline":
        """Return the outline whose fields are `body`, read from JSON; other entries of it are ignored."""
        known = {name: body[name] for name in Outline.__dataclass_fields__}
        return Outline(**{**known, **{name: tuple(body[name]) for name in ("shape", "classes", "labels")}})

    def rows(self, split: Split) -> int:
        """Return the number of rows of `split`."""
        return self.num_train if split == "train" else self.num_test


class Batch(NamedTuple):
    """Some rows, in order."""

    images: "npt.NDArray[Any]"
    """[b, c, h, w] of uint8; for texts [b], the texts themselves."""
    labels: "npt.NDArray[np.int64]"
    """[b]"""


NUMBER, TEXT, NONE, CENTER = "number", "text", "none", "center"
MAX_SIDE = 1024
"""Largest side of pictures that are resized, in pixels."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Options in brackets in a name of files that say how to read them; empty if not given."""

    classes: str = ""
    """Order of class folders named by numbers: "number", or "text", in which 10 comes before 2."""
    label: str = ""
    """Name of the column with the labels."""
    splits: str = ""
    """"none" if no name of a file or folder stands for a split."""
    size: str = ""
    """Side in pixels of the squares that pictures of any size become (`readers.sized`); empty to read them as they are.
    """
    crop: str = ""
    """Part of a picture that becomes the square: "center", the largest square in its middle, or "none", all of it."""

    def __str__(self) -> str:
        """Return the choices as they are written in a name."""
        given = ",".join(f"{name}={value}" for name, value in vars(self).items() if value)
        return f"[{given}]" if given else ""


AS_IS = Choices()
"""No choices: the defaults."""

Rows = Any
"""Indices [n] of rows within a split, ascending, as an int64 array."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """Functions that find, outline and read one kind of files. They take the path that the user gave."""

    files: Callable[[Path], Sequence[Path]]
    """Function that returns every file that is read, in a fixed order; raises ConfigError if a file is missing."""
    outline: Callable[[Path], Outline]
    """Function that returns the outline of the files; without torch if possible."""
    read: Callable[[Path, Split, Rows], Iterator[Batch]]
    """Function that yields the chosen rows of a split."""
    pictures: Callable[[Path, Split], Sequence[Path]] | None = None
    """Function that returns the file that each row of a split was cut from; None if rows show whole pictures."""
    as_shown: bool = False
    """Whether those files are opened as a viewer shows them (`readers.pictures`), which sets of equal sizes are not."""
    version: int = 1
    """Version of the rule by which bytes become pixels and labels; part of the content digest."""
    known: bool = False
    """Whether this is a dataset with a name of its own, rather than a kind of files."""
    listed: bool = True
    """Whether errors list it among the known names."""
    splits: bool = False
    """Whether one row in six becomes the test split if the files have none."""
    outline_whole: Callable[[Path], Outline] | None = None
    """Function that returns the outline if another set is tested on, so no row is; None if the outline is the same."""
    places: tuple[Callable[[], Path], ...] = ()
    """Default folders of a known set."""
    remedy: str = ""
    """Instruction in the error if a known set is in none of its default folders."""
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    """Mean and std per channel that the paper uses; None if they are computed from the training pixels."""
    embedding: "Embedding | None" = None
    """Tokeniser and word vectors of texts; None for images."""
    embedded_by: "Callable[[Embedding], Format] | None" = None
    """Function that returns the format with another embedding; None for images."""
    named_by: "Callable[[str], Format] | None" = None
    """Function that returns the format of a set of a library, by its name there, as in KIND:NAME=PATH; None if the
    format is one kind of files."""
    chosen_by: "Callable[[Choices], Format] | None" = None
    """Function that returns the format with the choices of a name; None if there are no choices."""
    choices: tuple[str, ...] = ()
    """Fields of `Choices` that `chosen_by` uses."""
    passed_over: Callable[[Path], Sequence[str]] | None = None
    """Function that names the files that are not read, for printing; None for a known set, whose files are fixed."""

    @staticmethod
    def library(named_by: "Callable[[str], Format]", choices: tuple[str, ...]) -> "Format":
        """Return the format of all sets of a library, before `named_by` names one."""

        def unnamed(*_: object) -> NoReturn:
            raise ConfigError("a set of a library is read by its name, as in KIND:NAME")

        return Format(files=unnamed, outline=unnamed, read=unnamed, named_by=named_by, choices=choices)


def pack(labels: Sequence[int]) -> str:
    """Return `labels`, all from 0 to `MAX_CLASSES` - 1, as a short string."""
    return b64encode(zlib.compress(array("H", [*labels]).tobytes(), 1)).decode()


def unpack(packed: str) -> "array[int]":
    """Return the labels encoded by `pack`."""
    return array("H", zlib.decompress(b64decode(packed)) if packed else b"")


def count_classes(labels: Iterable[int], where: Path) -> int:
    """Return k if the training labels are exactly 0 .. k-1; otherwise raise ConfigError."""
    found = sorted(set(labels))
    if len(found) < 2:
        raise ConfigError(f"{where} has {len(found)} classes in its training rows; there must be at least two")
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
    """Return the number of classes k in both splits, or raise ConfigError if their labels do not fit together.

    For files with only test rows, k is the largest label plus one.
    """
    if test and not train:
        if min(test) < 0 or max(test) >= MAX_CLASSES:
            raise ConfigError(f"{where} has labels from {min(test)} to {max(test)}; labels are 0, 1, 2, ...")
        return max(test) + 1
    num_classes = count_classes(train, where)
    check_labels(test, num_classes, where)
    return num_classes


def check_labels(labels: Iterable[int], num_classes: int, where: Path) -> None:
    """Raise ConfigError if a label is not in 0 .. num_classes-1."""
    wrong = set(labels) - set(range(num_classes))
    if wrong:
        raise ConfigError(
            f"{where} has a row with label {min(wrong)}, which no training row has; the labels of its classes are 0 to "
            f"{num_classes - 1}. Remove such rows, or say in a column `split` which rows are for training"
        )


def rows_at_once(shape: tuple[int, int, int]) -> int:
    """Return how many images of `shape` (c, h, w) are decoded together: at most `BATCH_ROWS`, and about 64 MB."""
    return max(1, min(BATCH_ROWS, 2**26 // math.prod(shape)))


def in_batches(images: "npt.NDArray[np.uint8]", labels: "npt.NDArray[np.int64]", rows: Rows) -> Iterator[Batch]:
    """Yield `rows` of arrays that are already in memory."""
    for start in range(0, len(rows), BATCH_ROWS):
        chosen = rows[start : start + BATCH_ROWS]
        yield Batch(images[chosen], labels[chosen].astype("int64"))
