"""Load a dataset by its reference, and check that it is the one that was meant."""

from collections.abc import Callable
from functools import lru_cache

import torch

from nrf_ray.data import digits
from nrf_ray.data.catalogue import DatasetRef, check_content
from nrf_ray.data.images import LabelledImages, content_digest
from nrf_ray.data.located import locate
from nrf_ray.data.prepared import Prepared, prepared
from nrf_ray.errors import ConfigError

LOADERS: dict[str, Callable[[], tuple[LabelledImages, LabelledImages]]] = {"digits": digits.load}
"""From a built-in dataset's name to a function that returns its training and test split; see `catalogue`."""

NORMALISATION: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {"digits": ((0.3,), (0.35,))}
"""Mean and std per channel of the built-in datasets."""


@lru_cache(maxsize=2)
def load(ref: DatasetRef) -> tuple[LabelledImages, LabelledImages]:
    """Return the training and the test split of `ref`; kept for the next stages of the same process.

    A set made of files is mapped into memory, not read: see `prepared`. Raises ConfigError where the content is not
    what the reference says.
    """
    if ref.location:
        arrays = _prepared(ref)
        train, test = (
            LabelledImages(images=torch.from_numpy(images), labels=torch.from_numpy(labels))
            for images, labels in (arrays[:2], arrays[2:4])
        )
        return train, test
    train, test = LOADERS[ref.name]()
    found = content_digest(train, test)
    if found != ref.digest:
        raise ConfigError(
            f"dataset {ref.name} has content {found[:12]}, but {ref.digest[:12]} was expected: another version of its "
            "files is installed; install the versions in constraints.txt"
        )
    return train, test


def train_split(ref: DatasetRef) -> LabelledImages:
    """Return the training split."""
    return load(ref)[0]


def test_split(ref: DatasetRef) -> LabelledImages:
    """Return the test split."""
    return load(ref)[1]


def normalisation(ref: DatasetRef) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std per channel: the paper's for its own sets, else those of the training pixels."""
    if not ref.location:
        return NORMALISATION[ref.name]
    arrays = _prepared(ref)
    return arrays.mean, arrays.std


def _prepared(ref: DatasetRef) -> Prepared:
    located = locate(ref.location)
    check_content(ref, located.digest)
    return prepared(located)
