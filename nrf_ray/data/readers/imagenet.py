"""Restricted ImageNet: nine super-classes of ImageNet (paper C.1, Table 2), from ImageNet's own folders.

PATH/train and PATH/val (or test) hold 1000 folders, one per class. They are named by WordNet ids (n01440764), whose
order is the order of class indices, or by the class indices (0 ... 999). Other names are refused, since any order of
them would be a guess.
In both splits every picture is resized so that its shorter side has 256 pixels, and cropped to its central 224 x 224.
The prepared set takes 39 GB. Random crops for training are cut from the files themselves (`training.crops`).
"""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from nrf_ray.data.members import PICTURES, Member, listed, tree_of
from nrf_ray.data.outline import BATCH_ROWS, TEXT, Batch, Choices, Format, Outline, Rows, Split, pack
from nrf_ray.data.readers.pictures import as_array, check_files, open_picture
from nrf_ray.errors import ConfigError

RANGES = {
    "dog": (151, 268),
    "cat": (281, 285),
    "frog": (30, 32),
    "turtle": (33, 37),
    "bird": (80, 100),
    "primate": (365, 382),
    "fish": (389, 397),
    "crab": (118, 121),
    "insect": (300, 319),
}
"""First and last ImageNet class index of each super-class, in the order of the labels."""

RESIZED, SIDE = 256, 224
CLASSES = 1000
WORDNET = re.compile(r"n\d{8}")


def by_index(form: Format, choices: Choices) -> Format:
    """Return `form` itself. Raises ConfigError if `choices` ask for another order than that of class indices."""
    if choices.classes == TEXT:
        raise ConfigError(
            "folders of restricted-imagenet that are named by numbers are class indices; leave out [classes=text]"
        )
    return form


def files(path: Path) -> Sequence[Path]:
    """Return the path of every picture of the nine super-classes."""
    return [*pictures(path, "train"), *pictures(path, "test")]


def pictures(path: Path, split: Split) -> Sequence[Path]:
    """Return the path of the picture of every row of `split`."""
    return [Path(file.path) for file, _ in _labelled(path, split)]


def outline(path: Path) -> Outline:
    """Return the outline, from the number of pictures; check their headers."""
    train, test = (_labelled(path, split) for split in ("train", "test"))
    missing = set(range(len(RANGES))) - {label for _, label in train}
    if missing:
        raise ConfigError(f"{path} has no training picture of a {list(RANGES)[min(missing)]}")
    check_files(path, [file for file, _ in (*train, *test)], None)
    return Outline(
        shape=(3, SIDE, SIDE),
        num_classes=len(RANGES),
        num_train=len(train),
        num_test=len(test),
        classes=tuple(RANGES),
        labels=(pack([label for _, label in train]), pack([label for _, label in test])),
    )


def read(path: Path, split: Split, rows: Rows) -> Iterator[Batch]:
    """Yield `rows` of `split`."""
    import numpy as np
    from torchvision.transforms import functional

    listed = _labelled(path, split)
    step = BATCH_ROWS // 8
    for start in range(0, len(rows), step):
        chosen = [listed[row] for row in rows[start : start + step]]
        pictures = (open_picture(Path(file.path).read_bytes(), file.path, 3) for file, _ in chosen)
        resized = (functional.center_crop(functional.resize(picture, [RESIZED]), [SIDE]) for picture in pictures)
        images = np.stack([as_array(picture) for picture in resized])
        yield Batch(images, np.array([label for _, label in chosen], dtype=np.int64))


def _labelled(path: Path, split: str) -> list[tuple[Member, int]]:
    root = path / ("val" if split == "test" and (path / "val").is_dir() else split)
    classes = _classes(root)
    return [
        (file, label)
        for label, (first, last) in enumerate(RANGES.values())
        for name in classes[first : last + 1]
        for file in _pictures(root, name)
    ]


def _classes(root: Path) -> list[str]:
    """Return the names of the class folders by class index. Raises ConfigError if the names do not show the index."""
    if not root.is_dir():
        raise ConfigError(f"{root} is not a folder; it must hold ImageNet's {CLASSES} folders, one per class")
    with os.scandir(root) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    if len(names) != CLASSES:
        raise ConfigError(f"{root} has {len(names)} folders; ImageNet has {CLASSES}, one per class")
    other = [name for name in names if not WORDNET.fullmatch(name)]
    if not other:
        return names
    numbers = {int(name): name for name in names if name.isascii() and name.isdigit()}
    if numbers.keys() != set(range(CLASSES)):
        raise ConfigError(
            f"{root} has the folders {listed(other)}; ImageNet's are named by WordNet ids (n01440764) or by class "
            f"indices from 0 to {CLASSES - 1}: rename them, since any other order would be a guess"
        )
    return [numbers[number] for number in range(CLASSES)]


def _pictures(root: Path, name: str) -> list[Member]:
    """Return the pictures of a class folder, with parts relative to `root`. Raises ConfigError if some are deeper."""
    found = tree_of(root / name, PICTURES).files
    deeper = ["/".join((name, *file.parts)) for file in found if len(file.parts) > 1]
    if deeper:
        raise ConfigError(f"{root}: {listed(deeper)} are deeper than in the folder of a class; move them up")
    return [Member(file.path, (name, *file.parts)) for file in found]
