"""The published sizes of known datasets: enough to plan a sweep where their files are not.

A dataset that is planned so is called `published:NAME`. It has no content, so its keys are not those of a run, and
nothing can be loaded from it.
"""

from typing import NamedTuple

from nrf_ray.data.naming import BUILT_IN, KEEP, parse_name
from nrf_ray.data.planted import is_planted
from nrf_ray.errors import ConfigError, lookup

PREFIX = "published:"


class Size(NamedTuple):
    """What planning needs."""

    shape: tuple[int, int, int]
    num_classes: int
    num_train: int
    num_test: int


SIZES = {
    "fashion-mnist": Size((1, 28, 28), 10, 60_000, 10_000),
    "cifar10": Size((3, 32, 32), 10, 50_000, 10_000),
    "cifar100": Size((3, 32, 32), 100, 50_000, 10_000),
    "restricted-imagenet": Size((3, 224, 224), 9, 257_748, 10_150),
}
"""By name. Of Restricted ImageNet the test images are 50 a class of 203; the training images are those of the authors'
library."""


def planning_name(name: str) -> str:
    """Return `name`, or its published form where its files are not here and its sizes are known.

    Raises the ConfigError of `parse_name` for every other name that means nothing here.
    """
    if name == BUILT_IN or is_planted(name):
        return name
    try:
        parse_name(name)
    except ConfigError:
        if KEEP.sub("", name) not in SIZES:
            raise
        return f"{PREFIX}{name}"
    return name


def size_of(name: str) -> Size:
    """Return the sizes that a published name means, as `published:cifar10[:10000]`.

    Raises ConfigError where nothing is kept of a split, or more than it has.
    """
    bare = name.removeprefix(PREFIX)
    size, kept = lookup(SIZES, KEEP.sub("", bare), "published dataset"), KEEP.search(bare)
    train, test = kept.groups() if kept else (None, None)
    return size._replace(num_train=_kept(bare, train, size.num_train), num_test=_kept(bare, test, size.num_test))


def _kept(name: str, keep: str | None, available: int) -> int:
    count = available if keep is None else int(keep)
    if not count:
        raise ConfigError(f"dataset {name!r} keeps no rows; leave the brackets out to keep all")
    if count > available:
        raise ConfigError(f"dataset {name!r} asks for {count} rows of a split that has {available}")
    return count
