"""Digits: 1797 real handwritten digits of 8x8 pixels in 17 grey levels, as scikit-learn ships them.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI repository. The split is fixed:
a permutation by a named seed, the first 1437 for training, the other 360 for testing.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from nrf_ray.data.images import LabelledImages
from nrf_ray.errors import ConfigError
from nrf_ray.seeding import derive_seed

NUM_TRAIN = 1437


def load() -> tuple[LabelledImages, LabelledImages]:
    """Return the training and the test split."""
    table = np.loadtxt(_file(), delimiter=",", dtype=np.int64)
    order = np.random.Generator(np.random.PCG64(derive_seed(0, "digits", "split"))).permutation(len(table))
    pixels, classes = table[order, :-1], table[order, -1]
    images = torch.from_numpy((pixels / 16.0).astype(np.float32)).view(-1, 1, 8, 8)
    labels = torch.from_numpy(classes)
    return (
        LabelledImages(images=images[:NUM_TRAIN], labels=labels[:NUM_TRAIN]),
        LabelledImages(images=images[NUM_TRAIN:], labels=labels[NUM_TRAIN:]),
    )


def _file() -> Path:
    """Return scikit-learn's file, without the two seconds that importing scikit-learn costs every process."""
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise ConfigError("the digits come with scikit-learn, which is not installed; pip install scikit-learn")
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
