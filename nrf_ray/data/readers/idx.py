"""IDX, the format of MNIST and Fashion-MNIST: four files, compressed or not (yann.lecun.com/exdb/mnist)."""

import gzip
import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nrf_ray.data.outline import Batch, Outline, Rows, Split, check_labels, count_classes, in_batches, pack
from nrf_ray.errors import ConfigError

if TYPE_CHECKING:
    import numpy.typing as npt

MAX_BYTES = 2**33
CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
"""Class names of Fashion-MNIST."""
NAMES = {"train": "train", "test": "t10k"}


def files(path: Path) -> Sequence[Path]:
    """Return the four files in the folder `path`, or in FashionMNIST/raw below it, torchvision's folder."""
    return [_find(path, split, what) for split in ("train", "test") for what in ("images-idx3", "labels-idx1")]


def outline(path: Path) -> Outline:
    """Return the outline, from the labels and the headers of the images."""
    train, test, labels, test_labels = files(path)[0], files(path)[2], *(_labels(path, s) for s in ("train", "test"))
    shape, other = _image_shape(train), _image_shape(test)
    if shape[1:] != other[1:] or (shape[0], other[0]) != (len(labels), len(test_labels)):
        raise ConfigError(
            f"{path} has images {shape} and {other}, and {len(labels)} and {len(test_labels)} labels, which do not "
            "fit together; download it again"
        )
    num_classes = count_classes(labels, path)
    check_labels(test_labels, num_classes, path)
    return Outline(
        shape=(1, *shape[1:]),
        num_classes=num_classes,
        num_train=shape[0],
        num_test=other[0],
        classes=CLASSES if num_classes == len(CLASSES) else (),
        labels=(pack(labels), pack(test_labels)),
    )


def read(path: Path, split: Split, rows: Rows) -> Iterator[Batch]:
    """Yield `rows` of `split`."""
    import numpy as np

    images: npt.NDArray[np.uint8] = np.frombuffer(_content(_find(path, split, "images-idx3"), 3), np.uint8)
    shape = _image_shape(_find(path, split, "images-idx3"))
    yield from in_batches(images.reshape(shape[0], 1, *shape[1:]), np.frombuffer(_labels(path, split), np.uint8), rows)


def _find(path: Path, split: str, what: str) -> Path:
    name = f"{NAMES[split]}-{what}-ubyte"
    for folder in (path, path / "FashionMNIST" / "raw"):
        for found in (folder / name, folder / f"{name}.gz"):
            if found.is_file():
                return found
    raise ConfigError(f"there is no {name} or {name}.gz in {path}")


def _labels(path: Path, split: str) -> bytes:
    return _content(_find(path, split, "labels-idx1"), 1)


def _image_shape(file: Path) -> tuple[int, int, int]:
    n, height, width = _dimensions(file, _exactly(file, 16)[:16], 3)
    return n, height, width


def _content(file: Path, dimensions: int) -> bytes:
    """Return the bytes after the header of `file`, which must be as long as the header says."""
    header = 4 + 4 * dimensions
    size = math.prod(_dimensions(file, _exactly(file, header)[:header], dimensions))
    data = _exactly(file, header + size, last=True)
    return data[header:]


def _dimensions(file: Path, header: bytes, dimensions: int) -> tuple[int, ...]:
    magic, *sizes = struct.unpack(f">{1 + dimensions}I", header)
    if magic != 0x0800 + dimensions:
        raise ConfigError(
            f"{file} is not an IDX file of bytes in {dimensions} dimensions: it begins with {header[:4].hex()}"
        )
    if not 0 < math.prod(sizes) <= MAX_BYTES:
        raise ConfigError(f"{file} claims to hold {' x '.join(map(str, sizes))} bytes; at most {MAX_BYTES} are read")
    return tuple(sizes)


def _exactly(file: Path, size: int, *, last: bool = False) -> bytes:
    """Return the first `size` bytes of `file`, decompressed. With `last`, further bytes are an error."""
    opener = gzip.open if file.suffix == ".gz" else open
    try:
        with opener(file, "rb") as opened:
            data = bytes(opened.read(size + 1))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ConfigError(f"{file} is damaged: {error}") from error
    if len(data) < size or (last and len(data) > size):
        raise ConfigError(
            f"{file} is {'longer' if len(data) > size else 'shorter'} than its header says; download it again"
        )
    return data
