"""Digits: 1797 real handwritten digits of 8x8 pixels in 17 grey levels, as scikit-learn ships them.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI repository. The split is fixed:
a permutation by a named seed, the first 1437 for training, the other 360 for testing.
"""

import numpy as np
import torch
from sklearn.datasets import load_digits

from nrf_ray.data.images import LabelledImages
from nrf_ray.seeding import derive_seed

NUM_TRAIN = 1437


def load() -> tuple[LabelledImages, LabelledImages]:
    """Return the training and the test split."""
    bunch = load_digits()
    order = np.random.Generator(np.random.PCG64(derive_seed(0, "digits", "split"))).permutation(len(bunch.target))
    images = torch.from_numpy((bunch.images / 16.0).astype(np.float32)[order]).unsqueeze(1)
    labels = torch.from_numpy(bunch.target.astype(np.int64)[order])
    return (
        LabelledImages(images=images[:NUM_TRAIN], labels=labels[:NUM_TRAIN]),
        LabelledImages(images=images[NUM_TRAIN:], labels=labels[NUM_TRAIN:]),
    )
