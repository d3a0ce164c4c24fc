"""Restricted ImageNet: nine super-classes of ImageNet (paper C.1, Table 2), from ImageNet's own folders.

PATH/train and PATH/val (or test) hold one folder a class, 1000 of them, whose names in order are the class indices.
Every picture is resized so that its shorter side has 256 pixels, and its central 224 x 224 are kept, in both splits:
the paper's random crops of the training pictures are left to augmentation. Prepared, that is 39 GB.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from nrf_ray.data.outline import BATCH_ROWS, Batch, Outline, Rows, Split
from nrf_ray.data.readers.folder import pictures_in, subfolders
from nrf_ray.data.readers.pictures import as_array, open_picture
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
"""First and last ImageNet class of each super-class; their order is that of the labels."""

RESIZED, SIDE = 256, 224


def files(path: Path) -> Sequence[Path]:
    """Return every picture of the nine super-classes."""
    return [file for split in ("train", "test") for file, _ in _labelled(path, split)]


def outline(path: Path) -> Outline:
    """Count the pictures."""
    train, test = (_labelled(path, split) for split in ("train", "test"))
    missing = set(range(len(RANGES))) - {label for _, label in train}
    if missing:
        raise ConfigError(f"{path} has no training picture of a {list(RANGES)[min(missing)]}")
    return Outline(shape=(3, SIDE, SIDE), num_classes=len(RANGES), num_train=len(train), num_test=len(test))


def read(path: Path, split: Split, rows: Rows) -> Iterator[Batch]:
    """Yield `rows` of `split`."""
    import numpy as np
    from torchvision.transforms import functional

    listed = _labelled(path, split)
    step = BATCH_ROWS // 8
    for start in range(0, len(rows), step):
        chosen = [listed[row] for row in rows[start : start + step]]
        pictures = (open_picture(file.read_bytes(), str(file), 3) for file, _ in chosen)
        resized = (functional.center_crop(functional.resize(picture, [RESIZED]), [SIDE]) for picture in pictures)
        images = np.stack([as_array(picture) for picture in resized])
        yield Batch(images, np.array([label for _, label in chosen], dtype=np.int64))


def _labelled(path: Path, split: str) -> list[tuple[Path, int]]:
    root = path / ("val" if split == "test" and (path / "val").is_dir() else split)
    classes = subfolders(root)
    if len(classes) != 1000:
        raise ConfigError(f"{root} has {len(classes)} folders; ImageNet has 1000, one a class")
    return [
        (file, label)
        for label, (first, last) in enumerate(RANGES.values())
        for name in classes[first : last + 1]
        for file in pictures_in(root / name)
    ]
