"""Published sizes of known datasets: enough to plan a sweep on a machine without their files.

A dataset planned in this way is called `published:NAME`. It has no content, so its keys differ from those of a run, and
it cannot be loaded.
"""

from typing import NamedTuple

from nrf_ray.data.naming import BUILT_IN, KEEP, parse_name
from nrf_ray.data.planted import is_planted
from nrf_ray.data.pushed import PREFIX as PUSHED
from nrf_ray.errors import ConfigError, lookup

PREFIX = "published:"


class Size(NamedTuple):
    """Shape and sizes of a dataset."""

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
"""Sizes by name. Restricted ImageNet has 50 test images for each of its 203 ImageNet classes; its number of training
images is from the authors' library."""


def planning_name(name: str) -> str:
    """Return `name`, or its published form if its files are not on this machine and its sizes are in `SIZES`.

    Raises the ConfigError of `parse_name` for every other name without files on this machine.
    """
    if name == BUILT_IN or is_planted(name) or name.startswith(PUSHED):
        return name
    try:
        parse_name(name)
    except ConfigError:
        if KEEP.sub("", name) not in SIZES:
            raise
        return f"{PREFIX}{name}"
    return name


def size_of(name: str) -> Size:
    """Return the sizes of a published name such as `published:cifar10[:10000]`.

    Raises ConfigError if it selects no rows of a split, or more than the split has.
    """
    bare = name.removeprefix(PREFIX)
    size, kept = lookup(SIZES, KEEP.sub("", bare), "published dataset"), KEEP.search(bare)
    train, test = kept.groups() if kept else (None, None)
    return size._replace(num_train=_kept(bare, train, size.num_train), num_test=_kept(bare, test, size.num_test))


def _kept(name: str, keep: str | None, available: int) -> int:
    count = available if keep is None else int(keep)
    if not count:
        raise ConfigError(f"dataset {name!r} selects no rows; leave out the brackets to select all")
    if count > available:
        raise ConfigError(f"dataset {name!r} asks for {count} rows of a split that has {available}")
    return count
