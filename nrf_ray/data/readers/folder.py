"""A folder with one folder of PNG or JPEG pictures per class.

Either PATH/<class>/*, of which one picture in six is for testing, or PATH/<split>/<class>/*, if the names of all
folders in PATH have a split word (`members`): train and test, training and validation, birds_train and birds_test. A
folder of pictures whose name has a split word could be a class or a split, so it is refused unless [splits=none] says
that it is a class. Classes are numbered in the text order of their names; if the numbers in them give another order,
[classes=number] or [classes=text] must choose (`class_order`). [size=64,crop=center] resizes pictures (`sized`).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from nrf_ray.data.members import (
    ALMOST,
    PICTURES,
    Member,
    Tree,
    are_pooled,
    check_almost,
    listed,
    passed_over,
    split_in,
    tree_of,
    words_in,
)
from nrf_ray.data.outline import (
    AS_IS,
    CENTER,
    NONE,
    Batch,
    Choices,
    Format,
    Outline,
    Rows,
    Split,
    pack,
    rows_at_once,
)
from nrf_ray.data.readers.class_order import in_order
from nrf_ray.data.readers.sized import checked_shape, decode_as, shape_of
from nrf_ray.errors import ConfigError


class Listed(NamedTuple):
    """Classes and pictures of a folder."""

    classes: list[str]
    """Names of the classes, in the order of their labels."""
    splits: dict[Split, list[tuple[Member, int]]]
    """Pictures and their labels, sorted by class and name; all are for training if the folder has no splits."""
    pooled: bool
    """Whether pictures for validation and pictures for testing are in one split."""


def format_of(choices: Choices = AS_IS) -> Format:
    """Return the format of folders of pictures, with the choices of a name."""
    return Format(
        files=partial(files, choices=choices),
        outline=partial(outline, choices=choices),
        read=partial(read, choices=choices),
        pictures=partial(pictures, choices=choices) if choices.crop == CENTER else None,
        as_shown=bool(choices.size),
        splits=True,
        chosen_by=format_of,
        choices=("classes", "splits", "size", "crop"),
        passed_over=partial(passed_over, endings=PICTURES),
    )


def files(path: Path, *, choices: Choices) -> Sequence[Path]:
    """Return the path of every picture."""
    splits = pictures_of(path, choices).splits
    return [Path(file.path) for split in splits for file, _ in splits[split]]


def pictures(path: Path, split: Split, *, choices: Choices) -> Sequence[Path]:
    """Return the path of the picture of every row of `split`."""
    return [Path(file.path) for file, _ in pictures_of(path, choices).splits[split]]


def outline(path: Path, *, choices: Choices) -> Outline:
    """Return the outline, from the names of folders, the first picture and the headers of all others."""
    found = pictures_of(path, choices)
    train, test = found.splits["train"], found.splits["test"]
    return Outline(
        shape=checked_shape(path, _every(found), choices),
        num_classes=len(found.classes),
        num_train=len(train),
        num_test=len(test),
        classes=tuple(found.classes),
        labels=(pack([label for _, label in train]), pack([label for _, label in test])),
        pooled=found.pooled,
    )


def read(path: Path, split: Split, rows: Rows, *, choices: Choices) -> Iterator[Batch]:
    """Yield `rows` of `split`."""
    import numpy as np

    found = pictures_of(path, choices)
    shape, listed = shape_of(_every(found), choices), found.splits[split]
    step = rows_at_once(shape)
    for start in range(0, len(rows), step):
        chosen = [listed[row] for row in rows[start : start + step].tolist()]
        images = np.stack([decode_as(Path(file.path).read_bytes(), file.path, shape, choices) for file, _ in chosen])
        yield Batch(images, np.array([label for _, label in chosen], dtype=np.int64))


def pictures_of(path: Path, choices: Choices) -> Listed:
    """Return the pictures in the folder `path`. Raises ConfigError if they do not form a dataset."""
    if not path.is_dir():
        raise ConfigError(f"{path} is not a folder; folder:PATH is a folder with one folder of pictures per class")
    tree = tree_of(path, PICTURES)
    splits = {} if choices.splits == NONE else _split_folders(path, tree)
    depth = 2 if splits else 1
    _check_depth(path, tree, depth)
    named = {
        split: {parts[-1] for parts in tree.folders if len(parts) == depth and splits.get(parts[0], "train") == split}
        for split in ("train", "test")
    }
    if splits and named["train"] != named["test"]:
        only = sorted(named["train"] ^ named["test"])
        raise ConfigError(f"{path} has classes in only one of train and test: {', '.join(only)}")
    classes = in_order(path, named["train"], choices.classes)
    labels = {name: label for label, name in enumerate(classes)}
    pictures: dict[Split, list[tuple[Member, int]]] = {"train": [], "test": []}
    for file in tree.files:
        pictures[splits.get(file.parts[0], "train")].append((file, labels[file.parts[-2]]))
    for part in pictures.values():
        part.sort(key=lambda item: item[1])  # stable: by class, and by name within it
    _check_classes(path, classes, pictures["train"])
    return Listed(classes, pictures, are_pooled(words_in(splits)))


def _check_depth(path: Path, tree: Tree, depth: int) -> None:
    """Raise ConfigError if a picture is not `depth` folders below `path`; the advice never mixes two splits."""
    stray = [file for file in tree.files if len(file.parts) != depth + 1]
    if not stray:
        return
    below = sorted({file.parts[:-1] for file in stray if split_in(file.parts[1:-1])})
    if below:
        raise ConfigError(
            f"{path}: the folders {listed(['/'.join(parts) for parts in below])} are named for splits below another "
            "folder; the split comes first: move the pictures into PATH/train/<class>/ and PATH/test/<class>/"
        )
    remedy = "rename the folders, so that pictures are in PATH/train/<class>/ and PATH/test/<class>/"
    check_almost(path, _folders_of(stray), remedy)
    if depth == 2:
        place = "PATH/<split>/<class>/: move them there, each within its split"
    else:
        place = "PATH/<class>/ or, in two splits, from PATH/train/<class>/ and PATH/test/<class>/: move them there"
    names = listed(["/".join(file.parts) for file in stray])
    raise ConfigError(f"{path}: {names} cannot be in a class; pictures are read only from {place}")


def _folders_of(files: Sequence[Member]) -> list[Member]:
    """Return the folders of `files`, each once."""
    return list({file.parts[:-1]: Member(str(Path(file.path).parent), file.parts[:-1]) for file in files}.values())


def _split_folders(path: Path, tree: Tree) -> dict[str, Split]:
    """Return the split of each folder in `path`; empty if the folders are classes."""
    top = sorted({parts[0] for parts in tree.folders})
    said = {name: split_in((name,)) for name in top}
    spoken = [name for name in top if said[name]]
    if not spoken:
        _check_classes_named_for_splits(path, tree)
        return {}
    classes = {file.parts[0] for file in tree.files if len(file.parts) == 2}
    asked = [name for name in spoken if name in classes]
    if asked:
        raise ConfigError(
            f"{path}: the folder of pictures {listed(asked)} may be a class or a split, by its name; write "
            "[splits=none] behind the path if no folder is a split, or put one folder per class into it"
        )
    torn = [name for name in spoken if len(said[name]) > 1]
    if torn:
        raise ConfigError(f"{path}: the name of the folder {listed(torn)} has words of two splits; rename it")
    full = {file.parts[0] for file in tree.files}
    other = [name for name in top if name in full and not said[name]]
    splits = {name: next(iter(said[name])) for name in spoken}
    if other or {*splits.values()} != {"train", "test"}:
        raise ConfigError(
            f"{path} has the folders {', '.join(top)}; it needs train and test, or one folder per class (then write "
            "[splits=none] behind the path)"
        )
    return splits


def _check_classes_named_for_splits(path: Path, tree: Tree) -> None:
    """Raise ConfigError if all folders of pictures are named as if for two splits, as trainA and testA."""
    folders = _folders_of(tree.files)
    direct = all(len(folder.parts) == 1 for folder in folders)  # others are refused by `_check_depth`
    if direct and all(any(piece.search("/".join(folder.parts)) for piece in ALMOST.values()) for folder in folders):
        check_almost(path, folders, "rename the folders, or write [splits=none] behind the path if they are classes")


def _check_classes(path: Path, classes: Sequence[str], train: Sequence[tuple[Member, int]]) -> None:
    if len(classes) < 2:
        raise ConfigError(f"{path} has {len(classes)} folders of pictures; there must be at least two classes")
    counts = Counter(label for _, label in train)
    empty = next((name for label, name in enumerate(classes) if not counts[label]), None)
    if empty is not None:
        raise ConfigError(f"{path} has no training picture of class {empty}")


def _every(found: Listed) -> list[Member]:
    return [file for split in found.splits.values() for file, _ in split]
