"""The classes of a set: how many rows each has, and which classes of another set are the same."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from nrf_ray.data.facts import known_numbers, noted
from nrf_ray.data.members import listed
from nrf_ray.data.outline import Outline, unpack
from nrf_ray.data.portions import Portion
from nrf_ray.data.splitting import TEST_SHARE
from nrf_ray.errors import ConfigError


class Classed(Protocol):
    """An object with classes: an outline, or the metadata of a dataset."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their labels; empty if they have none."""

    @property
    def num_classes(self) -> int:
        """Number of classes."""


def matched(train: Classed, test: Classed, text: str) -> tuple[int, ...]:
    """Return the label in `train` of each label of `test`, sets of the dataset `text`; empty if all are the same.

    Classes that have names in both sets are matched by name. Otherwise labels are numbers, and a name that is a number
    is that label.

    Raises:
        ConfigError: the test set has a class that the training set does not have.
    """
    if not train.classes and not test.classes:
        return ()
    by_name = _are_names(train.classes) and _are_names(test.classes)
    ours, theirs = (_identities(outline, by_name=by_name) for outline in (train, test))
    labels = {identity: label for label, identity in enumerate(ours)}
    found = [labels.get(identity, -1) for identity in theirs]
    missing = [str(name) for name, label in zip(test.classes or theirs, found, strict=True) if label < 0]
    if missing:
        known = listed(train.classes or [str(label) for label in ours])
        raise ConfigError(
            f"dataset {text!r} is tested on {len(missing)} classes that it is not trained on ({listed(missing)}); "
            f"it is trained on {known}: give the classes the same names in both sets"
        )
    return () if found == list(range(len(found))) else tuple(found)


def class_sizes(portion: Portion, outline: Outline, text: str, digest: str) -> tuple[int, ...]:
    """Return the rows of each class in `portion`, the training rows of the dataset `text` with this `digest`.

    The result is empty if all training rows are used and the class sizes are unknown until the files are read.

    Raises:
        ConfigError: a class has no training row left.
    """
    if not portion.available:
        return ()
    if not portion.is_whole:
        sizes = tuple(noted(digest, lambda: _counted(portion, outline)))
    elif outline.labels[0]:
        sizes = _sizes(outline.labels[0], outline.num_classes)
    else:
        return tuple(known_numbers(digest) or ())
    lost = [label for label, size in enumerate(sizes) if not size]
    if lost:
        names = listed([outline.classes[label] if outline.classes else str(label) for label in lost])
        raise ConfigError(
            f"dataset {text!r} has no training rows for {len(lost)} of its {outline.num_classes} classes ({names}), "
            f"because {_reason(portion)}"
        )
    return sizes


def _reason(portion: Portion) -> str:
    if portion.part:
        own = portion.available - portion.available // TEST_SHARE
        drawn = f"one row in {TEST_SHARE} is drawn for testing"
        if portion.count == own:
            return (
                f"{drawn}: give the classes more rows, or say in folders or a column `split` which rows are for testing"
            )
        return f"{drawn} and {portion.count} of the other {own} are selected: select more"
    return f"{portion.count} of {portion.available} training rows are selected: select more"


def _counted(portion: Portion, outline: Outline) -> list[int]:
    """Count the rows of each class in `portion` by their labels."""
    import numpy as np

    if outline.labels[0]:
        labels = np.frombuffer(unpack(outline.labels[0]), np.uint16)[portion.rows()]
    else:
        batches = portion.files.format.read(portion.files.path, portion.split, portion.rows())
        labels = np.concatenate([batch.labels for batch in batches])
    return [int(count) for count in np.bincount(labels, minlength=outline.num_classes)]


@lru_cache(maxsize=8)
def _sizes(packed: str, num_classes: int) -> tuple[int, ...]:
    counts = Counter(unpack(packed))
    return tuple(counts[label] for label in range(num_classes))


def _are_names(classes: Sequence[str]) -> bool:
    """Return whether `classes` are names, and not a different number each."""
    numbers = {int(name) for name in classes if name.isascii() and name.isdigit()}
    return len(numbers) != len(classes)


def _identities(outline: Classed, *, by_name: bool) -> list[int] | list[str]:
    """Return an identity for each class of `outline`; classes of two sets with equal identities are the same."""
    if not by_name:
        named = outline.classes and not _are_names(outline.classes)
        return [int(name) for name in outline.classes] if named else list(range(outline.num_classes))
    bare = [re.sub(r"[\W_]+", "", name).casefold() for name in outline.classes]
    return bare if len({*bare}) == len(bare) else list(outline.classes)
