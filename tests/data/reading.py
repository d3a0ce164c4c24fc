"""Reading sets back: what tests of readers assert of a set that is sound, and of one that is refused."""

import numpy as np
import pytest
import torch

from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.load import load
from nrf_ray.errors import ConfigError
from tests.data.files import pixels

IMAGES, LABELS = pixels(12), np.arange(12) % 3
SPLIT = ["train"] * 8 + ["test"] * 4


def check(name, images=IMAGES, labels=LABELS, tests=4):
    """Assert that the set `name` holds `images`, the last `tests` of them for testing."""
    train, test = load(dataset_named(name).ref)
    assert (len(train), len(test)) == (len(images) - tests, tests)
    assert np.array_equal(torch.cat([train.images, test.images]), images)
    assert np.array_equal(torch.cat([train.labels, test.labels]), labels)


def refusal(name):
    """Return the one line with which the set `name` is refused, when it is planned or when it is read."""
    with pytest.raises(ConfigError) as error:
        load(dataset_named(name).ref)
    text = str(error.value)
    assert "\n" not in text
    return text
