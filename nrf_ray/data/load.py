"""Load a dataset by its reference, and check that it is the one that was meant."""

from collections.abc import Callable
from functools import lru_cache

from nrf_ray.data import digits
from nrf_ray.data.catalogue import DatasetRef
from nrf_ray.data.images import LabelledImages, content_digest
from nrf_ray.errors import ConfigError

LOADERS: dict[str, Callable[[], tuple[LabelledImages, LabelledImages]]] = {"digits": digits.load}
"""From a dataset's name to a function that returns its training and test split; see `catalogue`."""


@lru_cache(maxsize=1)
def load(ref: DatasetRef) -> tuple[LabelledImages, LabelledImages]:
    """Return the training and the test split of `ref`; kept for the next stage of the same process.

    Raises ConfigError where the content is not what the reference says.
    """
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
