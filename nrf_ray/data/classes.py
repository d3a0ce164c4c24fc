"""The classes of a set: how many rows each has, and which classes of another set are the same."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

from nrf_ray.data.facts import known_numbers, noted
from nrf_ray.data.members import listed
from nrf_ray.data.outline import Outline, unpack
from nrf_ray.data.portions import Portion
from nrf_ray.data.splitting import TEST_SHARE
from nrf_ray.errors import ConfigError

LETTER = r"[^\W\d_]"
SEPARATORS = re.compile(rf"(?<={LETTER})[_ -]+(?={LETTER})|(?<={LETTER})[_ ]+(?=\d)|(?<=\d)[_ -]+(?={LETTER})")
"""Signs inside a word, which people write in different ways: ice_cream, ice-cream, ice cream, class_1."""


class Classed(Protocol):
    """An object with classes: an outline, or the metadata of a dataset."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their labels; empty if they have none."""

    @property
    def num_classes(self) -> int:
        """Number of classes."""


class Matching(NamedTuple):
    """Which classes of a training set and of a test set are the same."""

    relabel: tuple[int, ...] = ()
    """Label in the training set of each label of the test set; empty if all are the same."""
    remark: str = ""
    """How the classes were matched, for printing; empty if equal labels have equal names, or no names at all."""


def matched(train: Classed, test: Classed, text: str) -> Matching:
    """Return which classes of `train` and `test`, sets of the dataset `text`, are the same.

    If both sets have names, classes are matched by name (`_by_name`). If one has none, its labels are numbers, and
    names of the other that are all numbers are those labels.

    Raises:
        ConfigError: the test set has a class that the training set does not have, or may have under another name.
    """
    if not train.classes and not test.classes:
        return Matching()
    loose: list[str] = []
    if train.classes and test.classes:
        found, loose = _by_name(train.classes, test.classes, text)
        how = f"name ({listed(loose)})" if loose else "name"
    else:
        ours, theirs = (_numbers(outline, text) for outline in (train, test))
        labels = {number: label for label, number in enumerate(ours)}
        found, how = [labels.get(number, -1) for number in theirs], "number, for one set has no names"
    missing = [name for name, label in zip(_names(test), found, strict=True) if label < 0]
    if missing:
        raise ConfigError(
            f"dataset {text!r} is tested on {len(missing)} classes that it is not trained on ({listed(missing)}); "
            f"it is trained on {listed(_names(train))}: give the classes the same names in both sets"
        )
    same = found == list(range(len(found)))
    return Matching(() if same else tuple(found), "" if same and not loose else f"test classes are matched by {how}")


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


def _names(outline: Classed) -> list[str]:
    """Return the names of the classes of `outline`, or their labels if they have none."""
    return list(outline.classes) or [str(label) for label in range(outline.num_classes)]


def _numbers(outline: Classed, text: str) -> list[int]:
    """Return a number for each class of `outline`: its name, if all names are different numbers; otherwise its label.

    Raises ConfigError if some names are numbers, but not the labels: either could be meant.
    """
    numbers = {label: int(name) for label, name in enumerate(outline.classes) if name.isascii() and name.isdigit()}
    if numbers and len({*numbers.values()}) == outline.num_classes:
        return list(numbers.values())
    odd = next((label for label, number in numbers.items() if number != label), None)
    if odd is not None:
        raise ConfigError(
            f"dataset {text!r} has classes without names in one set and the class {outline.classes[odd]!r}, label "
            f"{odd}, in the other, so the number {numbers[odd]} could be either; give the classes names in both sets"
        )
    return list(range(outline.num_classes))


def _by_name(ours: Sequence[str], theirs: Sequence[str], text: str) -> tuple[list[int], list[str]]:
    """Return the label in `ours` of each of `theirs`, -1 if it has none, and the pairs whose names are not equal.

    Equal names are the same class. Each other name of `theirs` is the one name of `ours` that is left with the same
    `_loose` form.

    Raises:
        ConfigError: more than two names have the same form, so that it is a guess which of them are the same class.
    """
    labels = {name: label for label, name in enumerate(ours)}
    forms: dict[str, list[str]] = {}
    for name in dict.fromkeys((*ours, *theirs)):
        forms.setdefault(_loose(name), []).append(name)
    found, pairs = [], []
    for name in theirs:
        alike = forms[_loose(name)]
        known = [other for other in alike if other in labels]
        if name in labels or not known:
            found.append(labels.get(name, -1))
            continue
        if len(alike) > 2 or known[0] in theirs:
            raise ConfigError(
                f"dataset {text!r} has the classes {' and '.join(map(repr, alike))}, and it is a guess which are "
                "the same; give the same classes equal names in both sets, and others more different ones"
            )
        pairs.append(f"{name} as {known[0]}")
        found.append(labels[known[0]])
    return found, pairs


def _loose(name: str) -> str:
    """Return `name` without case, and without "_", "-" and blanks inside a word.

    Such a sign stays between two digits (1_5 is not 15), "-" also before a digit (a minus), and all other signs stay.
    """
    return SEPARATORS.sub("", name.casefold())
