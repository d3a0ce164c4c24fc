"""A folder with one folder of PNG or JPEG pictures a class.

Either PATH/<class>/*, of which one picture in six is for testing, or PATH/<split>/<class>/*, where the names of all
folders in PATH have a word of a split (`members`): train and test, training and validation, birds_train and birds_test.
A folder of pictures whose name has such a word may be a class or a split, so [splits=none] has to say that it is a
class. Classes are numbered by the order of their names as text; where that is not the order of the numbers in them,
[classes=number] or [classes=text] says which is meant.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from nrf_ray.data.members import PICTURES, Member, Tree, listed, passed_over, split_in, tree_of
from nrf_ray.data.outline import AS_IS, BATCH_ROWS, NONE, NUMBER, Batch, Choices, Format, Outline, Rows, Split, pack
from nrf_ray.data.readers.pictures import check_files, decode, picture_shape
from nrf_ray.errors import ConfigError

NUMBERED = re.compile(r"(\D*)(\d+)(\D*)")
"""A name with one number in it."""


class Listed(NamedTuple):
    """The pictures of a folder."""

    classes: list[str]
    """Names of the classes, in the order of their labels."""
    splits: dict[Split, list[tuple[Member, int]]]
    """Pictures and their labels, by class and by name; all are for training where the folder knows no splits."""


def format_of(choices: Choices = AS_IS) -> Format:
    """Return how folders are read, with the choices that a name makes."""
    return Format(
        files=partial(files, choices=choices),
        outline=partial(outline, choices=choices),
        read=partial(read, choices=choices),
        splits=True,
        chosen_by=format_of,
        choices=("classes", "splits"),
        passed_over=partial(passed_over, endings=PICTURES),
    )


def files(path: Path, *, choices: Choices) -> Sequence[Path]:
    """Return every picture."""
    splits = pictures_of(path, choices).splits
    return [Path(file.path) for split in splits for file, _ in splits[split]]


def outline(path: Path, *, choices: Choices) -> Outline:
    """List the folders, look at the first picture, and at the headers of all others."""
    found = pictures_of(path, choices)
    train, test = found.splits["train"], found.splits["test"]
    every = [file for file, _ in (*train, *test)]
    try:
        shape = _shape(found)
    except ConfigError:
        check_files(path, every, None)  # refused with all others that cannot be read
        raise
    check_files(path, every, shape)
    return Outline(
        shape=shape,
        num_classes=len(found.classes),
        num_train=len(train),
        num_test=len(test),
        classes=tuple(found.classes),
        labels=(pack([label for _, label in train]), pack([label for _, label in test])),
    )


def read(path: Path, split: Split, rows: Rows, *, choices: Choices) -> Iterator[Batch]:
    """Yield `rows` of `split`."""
    import numpy as np

    found = pictures_of(path, choices)
    shape, listed = _shape(found), found.splits[split]
    for start in range(0, len(rows), BATCH_ROWS):
        chosen = [listed[row] for row in rows[start : start + BATCH_ROWS].tolist()]
        images = np.stack([decode(Path(file.path).read_bytes(), file.path, shape) for file, _ in chosen])
        yield Batch(images, np.array([label for _, label in chosen], dtype=np.int64))


def pictures_of(path: Path, choices: Choices) -> Listed:
    """Return the pictures in the folder `path`, or raise ConfigError that says why it is no set."""
    if not path.is_dir():
        raise ConfigError(f"{path} is not a folder; folder:PATH is a folder with one folder of pictures a class")
    tree = tree_of(path, PICTURES)
    splits = {} if choices.splits == NONE else _split_folders(path, tree)
    depth = 2 if splits else 1
    stray = ["/".join(file.parts) for file in tree.files if len(file.parts) != depth + 1]
    if stray:
        place = "PATH/<split>/<class>/" if splits else "PATH/<class>/"
        raise ConfigError(
            f"{path}: {listed(stray)} cannot be in a class; pictures are read from {place} alone: move them"
        )
    named = {
        split: {parts[-1] for parts in tree.folders if len(parts) == depth and splits.get(parts[0], "train") == split}
        for split in ("train", "test")
    }
    if splits and named["train"] != named["test"]:
        only = sorted(named["train"] ^ named["test"])
        raise ConfigError(f"{path} has classes in one of train and test only: {', '.join(only)}")
    classes = in_order(path, named["train"], choices.classes)
    labels = {name: label for label, name in enumerate(classes)}
    pictures: dict[Split, list[tuple[Member, int]]] = {"train": [], "test": []}
    for file in tree.files:
        pictures[splits.get(file.parts[0], "train")].append((file, labels[file.parts[-2]]))
    for part in pictures.values():
        part.sort(key=lambda item: item[1])  # stable: by class, and by name within it
    _check_classes(path, classes, pictures["train"])
    return Listed(classes, pictures)


def in_order(path: Path, names: set[str], order: str) -> list[str]:
    """Return the names of class folders in the order of their labels: "number", "text", or what both agree on.

    Raises ConfigError where they do not agree and `order` is empty, or where there is no order by number.
    """
    by_text = sorted(names)
    by_number = _by_number(by_text)
    if order == NUMBER:
        if by_number is None:
            raise ConfigError(
                f"{path} has class folders {listed(by_text)}, which are not told apart by one number each; leave "
                "[classes=number] out"
            )
        return by_number
    if order or by_number in (None, by_text):
        return by_text
    assert by_number is not None, "else the order is that of text"
    place = next(label for label, name in enumerate(by_text) if name != by_number[label])
    raise ConfigError(
        f"{path} has class folders called by numbers, and class {place} is {by_number[place]} in the order of numbers "
        f"but {by_text[place]} in that of text, which ImageFolder and its checkpoints have: write [classes=number] or "
        f"[classes=text] behind the path"
    )


def _by_number(names: Sequence[str]) -> list[str] | None:
    """Return `names` in the order of the one number that each has; None where they differ in more than that."""
    found = [NUMBERED.fullmatch(name) for name in names]
    if len({match and (match[1], match[3]) for match in found}) != 1 or found[0] is None:
        return None
    numbers = {name: int(match[2]) for name, match in zip(names, found, strict=True) if match}
    return sorted(names, key=numbers.__getitem__) if len({*numbers.values()}) == len(names) else None


def _split_folders(path: Path, tree: Tree) -> dict[str, Split]:
    """Return the split of each folder in `path`; nothing where they are classes."""
    top = sorted({parts[0] for parts in tree.folders})
    said = {name: split_in((name,)) for name in top}
    spoken = [name for name in top if said[name]]
    if not spoken:
        return {}
    classes = {file.parts[0] for file in tree.files if len(file.parts) == 2}
    asked = [name for name in spoken if name in classes]
    if asked:
        raise ConfigError(
            f"{path}: the folder of pictures {listed(asked)} may be a class or a split, by its name; write "
            "[splits=none] behind the path if no folder is a split, or put one folder a class into it"
        )
    torn = [name for name in spoken if len(said[name]) > 1]
    if torn:
        raise ConfigError(f"{path}: the name of the folder {listed(torn)} has words of two splits; rename it")
    full = {file.parts[0] for file in tree.files}
    other = [name for name in top if name in full and not said[name]]
    splits = {name: next(iter(said[name])) for name in spoken}
    if other or {*splits.values()} != {"train", "test"}:
        raise ConfigError(
            f"{path} has the folders {', '.join(top)}; it needs train and test, or one folder a class (then write "
            "[splits=none] behind the path)"
        )
    return splits


def _check_classes(path: Path, classes: Sequence[str], train: Sequence[tuple[Member, int]]) -> None:
    if len(classes) < 2:
        raise ConfigError(f"{path} has {len(classes)} folders of pictures; there must be two classes at least")
    counts = Counter(label for _, label in train)
    empty = next((name for label, name in enumerate(classes) if not counts[label]), None)
    if empty is not None:
        raise ConfigError(f"{path} has no training picture of class {empty}")


def _shape(found: Listed) -> tuple[int, int, int]:
    first = found.splits["train"][0][0].path
    return picture_shape(Path(first).read_bytes(), first)
