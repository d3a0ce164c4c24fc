"""A dataset that is made of files: which rows of which files are its training and its test split.

Nothing here reads an image; that is `prepared`.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nrf_ray.data.facts import Facts, facts_of
from nrf_ray.data.naming import Files, Name, parse_name
from nrf_ray.data.outline import Kind, Split
from nrf_ray.data.splitting import TEST_SHARE, mixed, split_rows
from nrf_ray.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

RULE = 1
"""Version of how rows are split, kept and stored; part of every content digest."""


@dataclass(frozen=True, kw_only=True)
class Portion:
    """The rows of one split of a dataset."""

    files: Files
    """Where they are."""
    split: Split
    """In which split of the files."""
    part: Split | None
    """Which part of that split: one row in six is "test", the others "train"; None for all of it."""
    available: int
    """Rows of that split of the files."""
    count: int
    """Rows that are kept."""

    def rows(self) -> "npt.NDArray[np.int64]":
        """Return the numbers of the rows that are kept, ascending, within the split of the files."""
        import numpy as np

        rows = np.arange(self.available)
        if self.part:
            train, test = split_rows(self.available)
            rows = test if self.part == "test" else train
        return rows if self.count == len(rows) else np.sort(rows[mixed(len(rows), "keep")[: self.count]])


@dataclass(frozen=True, kw_only=True)
class Located:
    """A dataset made of files."""

    name: Name
    """What it is called."""
    digest: str
    """sha256 over the files' bytes, the rule that reads them and the choice of rows."""
    shape: tuple[int, int, int]
    """Channels, height, width."""
    kind: Kind
    """What a row is."""
    num_classes: int
    """Number of classes k."""
    train: Portion
    """Its training split."""
    test: Portion
    """Its test split."""


def locate(text: str) -> Located:
    """Return what the name `text` means here and now, or raise ConfigError that says what is wrong with the files."""
    name = parse_name(text)
    train_files, test_files = name.train, name.test or name.train
    elsewhere = name.test is not None
    train, test = facts_of(train_files, whole=elsewhere), facts_of(test_files, whole=elsewhere)
    alike = train.outline.kind == test.outline.kind and (
        train.outline.shape == test.outline.shape or train.outline.kind == "texts"
    )  # texts of any length are cut or filled
    if not alike or train.outline.num_classes < test.outline.num_classes:
        raise ConfigError(
            f"dataset {text!r} trains on {_about(train)} and tests on {_about(test)}; both have to be of one kind"
        )
    test_rows, made = test.outline.num_test, False
    if not elsewhere and test_rows == 0 and train_files.format.splits:
        test_rows, made = train.outline.num_train // TEST_SHARE, True
    if test_rows == 0:
        raise ConfigError(
            f"dataset {text!r} has no test rows; name a set whose test rows to use behind an @, as in "
            f"{train_files.kind}:PATH@cifar10"
        )
    train_rows = train.outline.num_train - (test_rows if made else 0)
    keep_train, keep_test = (_kept(text, keep, n) for keep, n in zip(name.keep, (train_rows, test_rows), strict=True))
    return Located(
        name=name,
        digest=_digest(name, train, test),
        shape=train.outline.shape,
        kind=train.outline.kind,
        num_classes=train.outline.num_classes,
        train=Portion(
            files=train_files,
            split="train",
            part="train" if made else None,
            available=train.outline.num_train,
            count=keep_train,
        ),
        test=Portion(
            files=test_files,
            split="train" if made else "test",
            part="test" if made else None,
            available=test.outline.num_train if made else test.outline.num_test,
            count=keep_test,
        ),
    )


def _kept(text: str, keep: int | None, available: int) -> int:
    if keep is not None and keep > available:
        raise ConfigError(f"dataset {text!r} asks for {keep} rows of a split that has {available}")
    return available if keep is None else keep


def _about(facts: Facts) -> str:
    return f"{facts.outline.shape} {facts.outline.kind} of {facts.outline.num_classes} classes"


def _digest(name: Name, train: Facts, test: Facts) -> str:
    parts = [
        [files.kind, files.format.version, facts.digest] if files else None
        for files, facts in ((name.train, train), (name.test, test))
    ]
    embedding = name.train.format.embedding
    parts += [["embedding", embedding.identity]] if embedding else []
    return hashlib.sha256(json.dumps([RULE, parts, name.keep]).encode()).hexdigest()
