"""Datasets of `torchvision.datasets`: `torchvision:NAME`, with files that torchvision has downloaded, in its layout.

torchvision's own class reads the files below PATH (its `root`) of torchvision:NAME=PATH, and checks them as it always
does. Pictures that the class decodes itself are taken from it. Those that it opens by a `loader` are read by our own
readers (`pictures`, `sized`), so files that are not PNG or JPEG are refused and random crops can be cut from the files.
Labels and sizes are asked of the class in a child process, because planning imports no torch, and remembered (`facts`).
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nrf_ray.data.members import Member
from nrf_ray.data.outline import (
    AS_IS,
    CENTER,
    Batch,
    Choices,
    Format,
    Outline,
    Rows,
    Split,
    classes_of,
    pack,
    rows_at_once,
)
from nrf_ray.data.outline_apart import outlined_by
from nrf_ray.data.places import data_home
from nrf_ray.data.readers.pictures import GREY, UnusablePictures, as_array
from nrf_ray.data.readers.sized import checked_shape, decode_as, resized, shape_of
from nrf_ray.errors import ConfigError, lookup

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

LIBRARY = "torchvision"
CHOICES = ("size", "crop")


class Known(NamedTuple):
    """A dataset of torchvision."""

    kind: str
    """Name of its class."""
    files: tuple[str, ...]
    """Patterns of its files below the root."""
    train: Mapping[str, Any]
    """Arguments of the class for the training split, or for all rows."""
    test: Mapping[str, Any] | None
    """Arguments of the class for the test split; None if it has none."""
    opens: bool = False
    """Whether the class opens each picture by a `loader`."""
    first: int = 0
    """Smallest label."""


def _by_flag(name: str) -> Known:
    return Known(name, (f"{name}/raw/*-ubyte", f"{name}/processed/*.pt"), {"train": True}, {"train": False})


def _emnist(split: str) -> Known:
    files = (f"EMNIST/raw/emnist-{split}-*-ubyte", f"EMNIST/processed/*_{split}.pt")
    given = {"split": split}
    return Known("EMNIST", files, {**given, "train": True}, {**given, "train": False}, first=int(split == "letters"))


TRAIN, TEST = {"split": "train"}, {"split": "test"}
SETS: dict[str, Known] = {
    **{name: _by_flag(name) for name in ("MNIST", "FashionMNIST", "KMNIST", "QMNIST")},
    **{f"EMNIST-{split}": _emnist(split) for split in ("balanced", "byclass", "bymerge", "digits", "letters", "mnist")},
    "USPS": Known("USPS", ("usps.bz2", "usps.t.bz2"), {"train": True}, {"train": False}),
    "SVHN": Known("SVHN", ("train_32x32.mat", "test_32x32.mat"), TRAIN, TEST),
    "STL10": Known("STL10", ("stl10_binary/*.bin", "stl10_binary/*.txt"), TRAIN, TEST),
    "Flowers102": Known("Flowers102", ("flowers-102/*.mat", "flowers-102/jpg/*"), TRAIN, TEST, opens=True),
    "Food101": Known("Food101", ("food-101/meta/*", "food-101/images/*/*"), TRAIN, TEST, opens=True),
    "DTD": Known("DTD", ("dtd/dtd/labels/*", "dtd/dtd/images/*/*.jpg"), TRAIN, TEST, opens=True),
    "EuroSAT": Known("EuroSAT", ("eurosat/2750/*/*",), {}, None, opens=True),
    "GTSRB": Known("GTSRB", ("gtsrb/GTSRB/**/*.ppm", "gtsrb/*.csv"), TRAIN, TEST),
}
"""The datasets by name. Rows for validation that a class keeps apart are not read."""


def format_of(name: str, choices: Choices = AS_IS) -> Format:
    """Return the format of the dataset `name`. Raises ConfigError if there is none."""
    known = lookup(SETS, name, f"dataset of {LIBRARY}")
    return Format(
        files=partial(files, name=name),
        outline=partial(outline, name=name, choices=choices),
        read=partial(read, name=name, choices=choices),
        pictures=partial(pictures, name=name) if known.opens and choices.crop == CENTER else None,
        as_shown=bool(choices.size),
        places=(lambda: data_home() / LIBRARY,),
        remedy=f"run `nrf fetch {LIBRARY}:{name}`",
        splits=known.test is None,
        chosen_by=partial(format_of, name),
        choices=CHOICES,
    )


def files(path: Path, *, name: str) -> Sequence[Path]:
    """Return the files of the dataset `name` below `path`."""
    found = [file for pattern in SETS[name].files for file in sorted(path.glob(pattern)) if file.is_file()]
    if not found:
        raise ConfigError(
            f"{LIBRARY}'s {name} is not in {path}: there is no file {SETS[name].files[0]}; run `nrf fetch "
            f"{LIBRARY}:{name}`, or write {LIBRARY}:{name}=PATH with the root that you gave {LIBRARY}"
        )
    return found


def outline(path: Path, *, name: str, choices: Choices) -> Outline:
    """Return the outline; in a process without torch, a child process reads it."""
    return outlined_by(LIBRARY, f"{LIBRARY}:{name}={path}{choices}", lambda: _outline(path, name, choices))


def _outline(path: Path, name: str, choices: Choices) -> Outline:
    """Return the outline, from every label and the size of every picture."""
    train, test = (_labels(found, SETS[name].first) for found in _splits(path, name))
    num_classes = classes_of(train, test, path)
    return Outline(
        shape=_shape(path, name, choices, check=True),
        num_classes=num_classes,
        num_train=len(train),
        num_test=len(test),
        classes=_class_names(_splits(path, name)[0], SETS[name].first, num_classes),
        labels=(pack(train), pack(test)),
    )


def pictures(path: Path, split: Split, *, name: str) -> Sequence[Path]:
    """Return the path of the picture of every row of `split`."""
    found = _opened(path, name, split)
    return [Path(found[row][0]) for row in range(len(found))]


def read(path: Path, split: Split, rows: Rows, *, name: str, choices: Choices) -> Iterator[Batch]:
    """Yield `rows` of `split`."""
    import numpy as np

    found, shape, first = _opened(path, name, split), _shape(path, name, choices), SETS[name].first
    step = rows_at_once(shape)
    for start in range(0, len(rows), step):
        items = [found[row] for row in rows[start : start + step].tolist()]
        images = np.stack([_pixels(item, shape, choices) for item, _ in items])
        yield Batch(images, np.array([int(label) - first for _, label in items], dtype=np.int64))


def _opened(path: Path, name: str, split: Split) -> Any:
    """Return torchvision's dataset; its rows are pairs of a label and a picture, or the path of one."""
    from torchvision import datasets

    known = SETS[name]
    given = known.train if split == "train" else known.test
    assert given is not None, "a set without a test split has no test rows"
    return getattr(datasets, known.kind)(str(path), **given, **({"loader": str} if known.opens else {}))


def _splits(path: Path, name: str) -> tuple[Any, Any]:
    """Return torchvision's datasets of both splits; the second is empty if there is none."""
    return _opened(path, name, "train"), _opened(path, name, "test") if SETS[name].test is not None else ()


def _labels(found: Any, first: int) -> list[int]:
    return [int(found[row][1]) - first for row in range(len(found))]


def _class_names(found: Any, first: int, count: int) -> tuple[str, ...]:
    """Return the names of the classes, if the class of torchvision knows them."""
    names = tuple(map(str, getattr(found, "classes", ())))[first:]
    return names if len(names) == count and len({*names}) == count else ()


def _shape(path: Path, name: str, choices: Choices, *, check: bool = False) -> tuple[int, int, int]:
    """Return the shape (c, h, w) of the set; `check` reads the size of every picture, and refuses unequal sizes."""
    known, both = SETS[name], _splits(path, name)
    if not known.opens:
        first = both[0][0][0]
        channels = 1 if first.mode in GREY else 3
        if choices.size:
            return (channels, int(choices.size), int(choices.size))
        if check:
            _check_sizes(path, both)
        return (channels, first.height, first.width)
    paths = [found[row][0] for found in both for row in range(len(found))]
    members = [Member(file, Path(file).relative_to(path).parts) for file in paths]
    return checked_shape(path, members, choices) if check else shape_of(members, choices)


def _check_sizes(path: Path, both: tuple[Any, Any]) -> None:
    """Raise UnusablePictures if the pictures of the splits have different sizes."""
    sizes = {found[row][0].size for found in both for row in range(len(found))}
    if len(sizes) > 1:
        (width, height), *_, (wider, higher) = sorted(sizes)
        raise UnusablePictures(
            f"{path} holds pictures of {len(sizes)} sizes, from {width} x {height} to {wider} x {higher} pixels; write "
            "[size=64,crop=center] behind the name to read them as squares of 64 pixels"
        )


def _pixels(item: Any, shape: tuple[int, int, int], choices: Choices) -> "npt.NDArray[np.uint8]":
    """Return a row of a dataset of torchvision, a picture or the path of one, as an array of `shape`."""
    if isinstance(item, str):
        return decode_as(Path(item).read_bytes(), item, shape, choices)
    picture = item.convert("L" if shape[0] == 1 else "RGB")
    return as_array(resized(picture, choices) if choices.size else picture)
