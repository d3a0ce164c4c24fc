"""Digits: 1797 real handwritten digits of 8x8 pixels in 17 grey levels, as scikit-learn ships them.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI repository. The split is fixed:
a permutation by a named seed, the first 1437 for training, the other 360 for testing.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from nrf_ray.errors import ConfigError
from nrf_ray.seeding import derive_seed

if TYPE_CHECKING:
    from nrf_ray.data.images import LabelledImages

NUM_TRAIN = 1437


class Arrays(NamedTuple):
    """Images and labels of one split."""

    images: npt.NDArray[np.float32]
    """[n, 1, 8, 8] in [0, 1]"""
    labels: npt.NDArray[np.int64]
    """[n]"""


def arrays() -> tuple[Arrays, Arrays]:
    """Return the training and the test split as arrays."""
    table = np.loadtxt(_file(), delimiter=",", dtype=np.int64)
    order = np.random.Generator(np.random.PCG64(derive_seed(0, "digits", "split"))).permutation(len(table))
    images = (table[order, :-1] / 16.0).astype(np.float32).reshape(-1, 1, 8, 8)
    labels = table[order, -1]
    return Arrays(images[:NUM_TRAIN], labels[:NUM_TRAIN]), Arrays(images[NUM_TRAIN:], labels[NUM_TRAIN:])


def load() -> "tuple[LabelledImages, LabelledImages]":
    """Return the training and the test split."""
    import torch

    from nrf_ray.data.images import LabelledImages

    train, test = (
        LabelledImages(images=torch.from_numpy(split.images), labels=torch.from_numpy(split.labels))
        for split in arrays()
    )
    return train, test


def _file() -> Path:
    """Return the path of scikit-learn's file, without importing scikit-learn, which takes two seconds per process."""
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise ConfigError("the digits come with scikit-learn, which is not installed; run pip install scikit-learn")
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
