"""Extra test sets: other images of the same classes (paper D.7), if their files are on this machine."""

from nrf_ray.data.catalogue import DatasetInfo, DatasetRef, dataset_named
from nrf_ray.data.classes import matched
from nrf_ray.data.formats import FORMATS
from nrf_ray.data.members import listed
from nrf_ray.errors import ConfigError

EXTRA = {"cifar10": ("cifar10.1", *(name for name in FORMATS if name.startswith("cifar10-c.")))}
"""Names of the extra test sets by dataset name, without the brackets that select rows."""


def extra_test_sets(info: DatasetInfo) -> dict[str, DatasetRef]:
    """Return the extra test sets of `info` that are in their default folders, by name.

    Each has only a test split, which `load.test_split` returns, and the classes of `info` in the same order. Name files
    in other folders explicitly, as in `dataset_named("cifar10.1:PATH")`.
    """
    names = EXTRA.get(info.ref.name.partition("[")[0], ())
    return {name: dataset_named(name).ref for name in names if is_here(name)}


def check_same_classes(info: DatasetInfo, test: DatasetInfo) -> None:
    """Raise ConfigError if `test`, an extra test set of `info`, is `info`, or has its classes in another order."""
    if test.ref == info.ref:
        raise ConfigError(
            f"extra test set {test.ref.name} is the dataset itself, which is tested on anyway; leave it out"
        )
    if matched(info, test, f"{info.ref.name}@{test.ref.name}").relabel:
        raise ConfigError(
            f"extra test set {test.ref.name} has the classes of {info.ref.name} in another order "
            f"({listed(test.classes)} and {listed(info.classes)}); name it behind an @ instead, where classes "
            "are matched by name"
        )


def is_here(name: str) -> bool:
    """Return whether the files of the dataset `name` are in one of its default folders."""
    form = FORMATS[name]
    for place in form.places:
        try:
            form.files(place())
        except ConfigError:
            continue
        return True
    return False
