"""A folder with one folder of PNG or JPEG pictures a class.

Either PATH/train/<class>/* and PATH/test/<class>/*, or PATH/<class>/*, of which one picture in six is for testing. The
classes are numbered by the order of their names. Hidden files are passed over; anything else that is no picture is
refused, for it may be a picture under a wrong name.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from nrf_ray.data.outline import BATCH_ROWS, Batch, Outline, Rows, Split
from nrf_ray.data.readers.pictures import decode, picture_shape
from nrf_ray.errors import ConfigError

ENDINGS = {".png", ".jpg", ".jpeg"}


def files(path: Path) -> Sequence[Path]:
    """Return every picture."""
    return [file for split in ("train", "test") for file, _ in _labelled(path, split)]


def outline(path: Path) -> Outline:
    """List the folders, and look at the first picture."""
    classes, train = _classes(path), _labelled(path, "train")
    if len(classes) < 2:
        raise ConfigError(f"{path} has {len(classes)} folders of pictures; there must be two classes at least")
    empty = set(range(len(classes))) - {label for _, label in train}
    if empty:
        raise ConfigError(f"{path} has no training picture of class {classes[min(empty)]}")
    first = train[0][0]
    return Outline(
        shape=picture_shape(first.read_bytes(), str(first)),
        num_classes=len(classes),
        num_train=len(train),
        num_test=len(_labelled(path, "test")),
    )


def read(path: Path, split: Split, rows: Rows) -> Iterator[Batch]:
    """Yield `rows` of `split`."""
    import numpy as np

    shape = outline(path).shape
    listed = _labelled(path, split)
    for start in range(0, len(rows), BATCH_ROWS):
        chosen = [listed[row] for row in rows[start : start + BATCH_ROWS]]
        images = np.stack([decode(file.read_bytes(), str(file), shape) for file, _ in chosen])
        yield Batch(images, np.array([label for _, label in chosen], dtype=np.int64))


def subfolders(path: Path) -> list[str]:
    """Return the names of the folders in the folder `path`, sorted; hidden ones left out."""
    if not path.is_dir():
        raise ConfigError(f"{path} is no folder")
    return sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures in `folder`, by name, or raise ConfigError where there is anything else."""
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    other = next((e for e in entries if not e.is_file() or e.suffix.lower() not in ENDINGS), None)
    if other:
        raise ConfigError(f"{other} is no PNG or JPEG picture; a folder of a class holds nothing else")
    return entries


def _classes(path: Path) -> list[str]:
    """Return the names of the classes, which have to be the same in both splits."""
    found = subfolders(path)
    if not {"train", "test"} & set(found):
        return found
    train, test = (subfolders(path / split) if (path / split).is_dir() else None for split in ("train", "test"))
    if train is None or test is None or set(found) != {"train", "test"}:
        raise ConfigError(f"{path} has the folders {', '.join(found)}; it needs train and test, or one folder a class")
    if train != test:
        raise ConfigError(f"{path} has classes in one of train and test only: {', '.join(sorted({*train} ^ {*test}))}")
    return train


def _labelled(path: Path, split: str) -> list[tuple[Path, int]]:
    """Return the pictures of `split` with their labels; all of them are "train" where the files know no splits."""
    classes = _classes(path)
    root = path / split if "train" in subfolders(path) else path
    if root == path and split == "test":
        return []
    return [(file, label) for label, name in enumerate(classes) for file in pictures_in(root / name)]
