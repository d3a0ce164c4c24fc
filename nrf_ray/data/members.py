"""Which files of a folder belong to a set, and to which split: one rule for every reader of folders.

- Names that begin with a dot, the folders __MACOSX and __pycache__, and our own folders (a store, the data home) are
  passed over. Links are followed.
- Every other file at any depth with a data ending (`DATA`, in any case) is used or named in a refusal. Files with
  another ending are passed over, unless they begin as PNG, JPEG or parquet does; `nrf --plan` names them.
- A word of a split (`WORDS`, in any case) in the name of a file or of a folder below the path says which split the file
  is in, if no letter touches the word: birds_train.parquet, test1/a.csv; not latest.csv. If one file is named for a
  split, all must be. A name with words of two splits is refused.
- `[splits=none]` behind the path says that no name stands for a split.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from nrf_ray.data.outline import Split
from nrf_ray.data.places import STORE, data_home
from nrf_ray.errors import ConfigError, check_text

WORDS: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation", "validation", "valid", "val", "dev"), "test"),
}
"""Split words of Hugging Face's loaders. Only two splits exist here, so rows for validation are test rows."""
VALIDATION = ("validation", "valid", "val", "dev")
"""Words for validation, which others keep apart from testing."""
SPLIT_WORD = re.compile(rf"(?<![^\W\d_])(?:{'|'.join(WORDS)})(?![^\W\d_])", re.IGNORECASE)
ALMOST = {"train": re.compile("train|trn", re.IGNORECASE), "test": re.compile("test|tst|val|dev", re.IGNORECASE)}
"""Pieces of names that may stand for a split although letters touch them, as in trainset.csv and birdsTest.csv."""
RENAME = "rename the files, or write [splits=none] behind the path if no name stands for a split"

OLD_WORD = re.compile(r"(train|test|validation|valid|val)(?![a-z])", re.IGNORECASE)
"""Split word that versions before `SPLIT_WORD` found, at the beginning of a name only."""

SHARD = re.compile(r"(?P<before>.*?)(?P<number>\d+)-of-(?P<total>\d{1,9})(?!\d).*")
"""Name of a file that says how many files there are."""

PICTURES = (".png", ".jpg", ".jpeg")
PARQUET = (".parquet", ".parq", ".pq")
CSV = (".csv", ".csv.gz")
DATA = (
    *(*PICTURES, ".jpe", ".jfif", ".jp2", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"),
    *(".pnm", ".tga", ".ico", ".heic", ".heif", ".avif", ".jxl", ".dcm", ".nii"),
    *(*PARQUET, *CSV, ".tsv", ".jsonl", ".ndjson", ".arrow", ".feather", ".orc", ".avro", ".xls", ".xlsx"),
    *(".npy", ".npz", ".pt", ".pth", ".pkl", ".pickle", ".safetensors", ".h5", ".hdf5", ".mat", ".tfrecord", ".bin"),
    *(".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip", ".7z", ".rar", ".tar", ".tgz"),
)
"""Endings of files that may hold rows, whether or not they can be read here."""
MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"PAR1")
"""First bytes of PNG, JPEG and parquet."""
JUNK = ("__MACOSX", "__pycache__")
FEW = 3
"""Largest number of names written out in a message."""


class Member(NamedTuple):
    """A file of a set."""

    path: str
    """Absolute path."""
    parts: tuple[str, ...]
    """Names of the folders below the path of the set, and of the file."""


class Tree(NamedTuple):
    """Files and folders in a folder."""

    files: list[Member]
    """Files that are used, in the order of their parts."""
    folders: list[tuple[str, ...]]
    """Parts of every folder below the path that is not passed over."""
    others: list[str]
    """Files that are passed over because they do not have a data ending, relative to the path."""
    hidden: int
    """Number of files and folders that are passed over because of their names, or because they are our own."""


def tree_of(root: Path, endings: Sequence[str]) -> Tree:
    """Return the files and folders in `root`; files with `endings` are used.

    Raises ConfigError for a data file with another ending, a link to nowhere or to a folder around it, and an entry
    that is neither a file nor a folder.
    """
    tree, foreign = Tree([], [], [], 0), list[str]()
    hidden = _walk(str(root), (), (_identity(str(root)),), tree, (tuple(endings), foreign))
    if foreign:
        used = f"beside files *{endings[0]}" if tree.files else f"and there is no file *{endings[0]} in it"
        raise ConfigError(
            f"{root} holds {listed(foreign)}, {used}; a set is made of one kind of files: convert the others, or "
            "remove them"
        )
    tree.files.sort(key=lambda member: member.parts)
    return tree._replace(hidden=hidden)


def files_of(root: Path, endings: Sequence[str]) -> list[Member]:
    """Return the files with `endings` in the folder `root`, or `root` itself if it is a file, whatever its name.

    Raises ConfigError if there is no such file, or if a file is missing from those that the names count.
    """
    if not root.is_dir():
        check_regular(root)
        return [Member(str(root), (root.name,))]
    files = tree_of(root, endings).files
    if not files:
        raise ConfigError(f"there is no file *{endings[0]} in {root}")
    check_shards(member.path for member in files)
    return files


def check_shards(paths: Iterable[str]) -> None:
    """Raise ConfigError unless the files called 00000-of-00003 to 00002-of-00003, or from 1 to 3, are all there."""
    found: dict[tuple[str, str], set[int]] = defaultdict(set)
    for path in paths:
        folder, name = os.path.split(path)
        if shard := SHARD.fullmatch(name):
            found[f"{folder}/{shard['before']}", shard["total"]].add(int(shard["number"]))
    for (before, total), numbers in found.items():
        count = int(total)
        first = 1 if 0 not in numbers and count in numbers else 0
        missing = [
            number for number in islice(range(first, first + count), FEW + len(numbers)) if number not in numbers
        ]
        lost = count - sum(first <= number < first + count for number in numbers)
        if missing:
            names = ", ".join(f"{before}{number:0{len(total)}}-of-{total}" for number in missing[:FEW])
            more = f" and {lost - FEW} more" if lost > FEW else ""
            raise ConfigError(
                f"{lost} of {count} files are missing: {names}{more}; download or copy them, or rename the others if "
                "the set is complete without them"
            )


def passed_over(root: Path, endings: Sequence[str]) -> list[str]:
    """Return the names of files that `tree_of` passes over in `root`, for printing; hidden ones are only counted."""
    if not root.is_dir():
        return []
    tree = tree_of(root, endings)
    return [*tree.others, *([f"{tree.hidden} hidden"] if tree.hidden else [])]


def check_regular(path: Path) -> None:
    """Raise ConfigError if `path` exists and is not a file: reading from a pipe could wait for ever."""
    if path.exists() and not path.is_file():
        raise ConfigError(f"{path} is neither a file nor a folder; name a file")


def splits_by_name(root: Path, files: Sequence[Member], asked: Sequence[Member]) -> list[Split]:
    """Return the splits of `asked`, some of the `files` in `root`, by their names; "train" if no name has a split word.

    Raises ConfigError if a name has words of two splits, or has no split word although the name of another file does,
    or if no name has a split word but names look like those of two splits.
    """
    torn = [member for member in asked if len(split_in(member.parts)) > 1]
    if torn:
        raise ConfigError(
            f"cannot tell the split of {_names(torn)} in {root}: the name has words of two splits; rename the file, "
            "or give the rows a column `split`, or write [splits=none] behind the path if no name stands for a split"
        )
    without = [member for member in asked if not split_in(member.parts)]
    if without and any(split_in(member.parts) for member in files):
        raise ConfigError(
            f"cannot tell the split of {_names(without)} in {root}: it has no column `split`, and neither its name nor "
            "its folder's has a split word (train, test, validation), as other files' do; remove the file, or add the "
            "column"
        )
    if asked and len(without) == len(asked):
        check_almost(root, files)
    return [next(iter(split_in(member.parts)), "train") for member in asked]


def check_almost(root: Path, files: Sequence[Member], remedy: str = RENAME) -> None:
    """Raise ConfigError with `remedy` if names of `files` without a split word look like those of two splits."""
    found = {split: {file for file in files if piece.search("/".join(file.parts))} for split, piece in ALMOST.items()}
    train, test = sorted(found["train"] - found["test"]), sorted(found["test"] - found["train"])
    if train and test:
        raise ConfigError(
            f"cannot tell whether {_names(train[:1])} and {_names(test[:1])} in {root} are splits: a split word "
            f"(train, test, validation) counts if no letter touches it, as in train_1; {remedy}"
        )


def split_in(parts: Iterable[str]) -> set[Split]:
    """Return the splits that the words in the names `parts` stand for."""
    return {WORDS[word] for word in words_in(parts)}


def words_in(parts: Iterable[str]) -> set[str]:
    """Return the split words in the names `parts`, in lower case."""
    return {word.lower() for part in parts for word in SPLIT_WORD.findall(part)}


def are_pooled(words: Iterable[str]) -> bool:
    """Return whether split words stand for validation and for testing, whose rows are one split here."""
    return len({word in VALIDATION for word in words if WORDS[word] == "test"}) > 1


def old_split(parts: Sequence[str]) -> Split:
    """Return the split in which versions before `SPLIT_WORD` put a file; "train" if they found no word."""
    found = [OLD_WORD.match(part) for part in reversed(parts)]
    return next((WORDS[word[1].lower()] for word in found if word), "train")


def listed(names: Sequence[str]) -> str:
    """Return the first `FEW` of `names` and the number of the others, as text for a message."""
    more = len(names) - FEW
    return ", ".join(names[:FEW]) + (f" and {more} more" if more > 0 else "")


def _names(members: Iterable[Member]) -> str:
    return listed(["/".join(member.parts) for member in members])


def _walk(
    folder: str,
    parts: tuple[str, ...],
    above: tuple[tuple[int, int], ...],
    tree: Tree,
    kinds: tuple[tuple[str, ...], list[str]],
) -> int:
    """Add the contents of `folder` to `tree`, and data files with other endings to `kinds`; return the hidden count."""
    (endings, foreign), hidden, home = kinds, 0, str(data_home())
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        name = entry.name
        if name.startswith(".") or name in JUNK:
            hidden += 1
            continue
        here = (*parts, _readable(name, folder))
        if entry.is_file():
            low = name.lower()
            if low.endswith(endings):
                tree.files.append(Member(entry.path, here))
            elif low.endswith(DATA):
                foreign.append("/".join(here))
            else:
                _check_other(entry.path)
                tree.others.append("/".join(here))
        elif entry.is_dir():
            if entry.path == home or os.path.exists(f"{entry.path}/{STORE}"):
                hidden += 1
                continue
            identity = _identity(entry.path)
            if identity in above:
                raise ConfigError(f"{entry.path} is a link to a folder that contains it; remove the link")
            tree.folders.append(here)
            hidden += _walk(entry.path, here, (*above, identity), tree, kinds)
        elif entry.is_symlink() and not os.path.exists(entry.path):
            raise ConfigError(
                f"{entry.path} is a link to nowhere (No such file: {os.readlink(entry.path)}); correct the link or "
                "remove it"
            )
        else:
            raise ConfigError(f"{entry.path} is neither a file nor a folder; remove it")
    return hidden


def _identity(folder: str) -> tuple[int, int]:
    stat = os.stat(folder)
    return stat.st_dev, stat.st_ino


def _readable(name: str, folder: str) -> str:
    """Return `name`, or raise ConfigError if its bytes are not UTF-8."""
    if not name.isascii():
        check_text(name, f"in {folder} the name of the file")
    return name


def _check_other(path: str) -> None:
    """Raise ConfigError if a file without a data ending begins as PNG, JPEG or parquet: its rows would be missing."""
    with suppress(OSError), open(path, "rb") as file:
        if file.read(len(MAGIC[0])).startswith(MAGIC):
            raise ConfigError(f"{path} holds data by its first bytes but not by its ending; rename it or remove it")
