"""Extra test sets of CIFAR-10 in `.npy` files: CIFAR-10.1 (Recht 2018) and CIFAR-10-C (Hendrycks 2019).

Images are [n, 32, 32, 3] of uint8, labels [n]. They have a test split only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nrf_ray.data.outline import Batch, Outline, Rows, Split
from nrf_ray.data.readers.cifar import CIFAR10_CLASSES
from nrf_ray.errors import ConfigError

CORRUPTIONS = (
    *("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"),
    *("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "gaussian_blur"),
    *("snow", "frost", "fog", "brightness", "spatter"),
    *("contrast", "elastic_transform", "pixelate", "jpeg_compression", "saturate"),
)
"""Corruptions of CIFAR-10-C. A file holds the test set at five severities, one after the other."""

PIXELS = (32, 32, 3)
MAX_ROWS = 2**20
MAGIC = b"\x93NUMPY"
ROWS = 256


@dataclass(frozen=True, kw_only=True)
class ArraySet:
    """Images and labels in two files of one folder."""

    images: str
    """Name of the file with the images."""
    labels: str
    """Name of the file with the labels."""

    def files(self, path: Path) -> Sequence[Path]:
        """Return the paths of both files."""
        found = [path / self.images, path / self.labels]
        missing = next((file for file in found if not file.is_file()), None)
        if missing:
            raise ConfigError(f"there is no {missing.name} in {path}")
        return found

    def outline(self, path: Path) -> Outline:
        """Return the outline, read from the headers of both files."""
        images, labels = (_load(file) for file in self.files(path))
        if images.shape[1:] != PIXELS or str(images.dtype) != "uint8" or labels.shape != images.shape[:1]:
            raise ConfigError(
                f"{path} has images {images.shape} of {images.dtype} and labels {labels.shape}; CIFAR-10 has images "
                "[n, 32, 32, 3] of uint8 and labels [n]"
            )
        return Outline(
            shape=(3, 32, 32),
            num_classes=len(CIFAR10_CLASSES),
            num_train=0,
            num_test=len(images),
            classes=CIFAR10_CLASSES,
        )

    def read(self, path: Path, split: Split, rows: Rows) -> Iterator[Batch]:
        """Yield `rows` of the test split."""
        if split == "train":
            return
        images, labels = (_load(file) for file in self.files(path))
        for start in range(0, len(rows), ROWS):
            chosen = rows[start : start + ROWS]
            yield Batch(images[chosen].transpose(0, 3, 1, 2), labels[chosen].astype("int64"))


def _load(file: Path) -> Any:
    import numpy as np

    with file.open("rb") as opened:
        if opened.read(len(MAGIC)) != MAGIC:
            raise ConfigError(f"{file} is not a readable array: it does not begin like an .npy file")
    try:
        with np.errstate(over="raise"):  # a header may claim more elements than can be counted
            array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, FloatingPointError) as error:
        raise ConfigError(f"{file} is not a readable array: {error}") from error
    if not array.ndim or not 0 < len(array) <= MAX_ROWS:
        raise ConfigError(f"{file} is not an array of 1 to {MAX_ROWS} rows")
    return array


CIFAR10_1 = ArraySet(images="cifar10.1_v6_data.npy", labels="cifar10.1_v6_labels.npy")


def cifar10_c(corruption: str) -> ArraySet:
    """Return the test set with one of `CORRUPTIONS`, at all severities."""
    return ArraySet(images=f"{corruption}.npy", labels="labels.npy")
