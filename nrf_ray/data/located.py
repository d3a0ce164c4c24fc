"""A dataset that is made of files: which rows of which files are its training and its test split.

Images are not read here but in `prepared`.
"""

import hashlib
import json
from dataclasses import dataclass, replace

from nrf_ray.data.classes import Matching, class_sizes, matched
from nrf_ray.data.facts import Facts, facts_of
from nrf_ray.data.naming import Files, Name, parse_name
from nrf_ray.data.outline import NONE, NUMBER, Kind
from nrf_ray.data.portions import Portion
from nrf_ray.data.readers.sized import SIZING
from nrf_ray.data.splitting import TEST_SHARE
from nrf_ray.errors import ConfigError

RULE = 1
"""Version of how rows are split, selected and stored; part of every content digest."""


@dataclass(frozen=True, kw_only=True)
class Located:
    """A dataset made of files."""

    name: Name
    """Parsed name."""
    content: str
    """sha256 over the files' bytes, the rule that reads them and the choice of rows."""
    digest: str
    """sha256 of the content and of the code of plug-ins that read it; what this machine remembers of the set is under
    it. In keys are the content and, apart from it, the digests of plug-ins."""
    shape: tuple[int, int, int]
    """Channels, height, width; for texts 1, tokens, coordinates of a token."""
    kind: Kind
    """Kind of the examples."""
    num_classes: int
    """Number of classes k."""
    train: Portion
    """Rows of the training split."""
    test: Portion
    """Rows of the test split."""
    classes: tuple[str, ...] = ()
    """Names of the classes, in the order of their labels; empty if they have none."""
    sizes: tuple[int, ...] = ()
    """Training rows of each class; empty if unknown until the files are read."""
    files: tuple[int, ...] = ()
    """Number of files of the training set and, if the test set is another one, of the test set."""
    by_character: int = 0
    """Number of texts whose words are single characters."""
    pooled: bool = False
    """Whether the test rows are rows for validation and rows for testing, by their names."""
    matching: str = ""
    """How the classes of training and test set were matched, for printing; empty if that needs no words."""


def locate(text: str) -> Located:
    """Return the dataset that the name `text` means on this machine. Raises ConfigError if its files are not usable."""
    name = parse_name(text)
    train_files, test_files = name.train, name.test or name.train
    elsewhere = name.test is not None
    train, test = facts_of(train_files, whole=elsewhere), facts_of(test_files, whole=elsewhere)
    matching = _matching(text, train, test) if elsewhere else Matching()
    test_rows, made = test.outline.num_test, False
    if not elsewhere and test_rows == 0 and train_files.format.splits:
        test_rows, made = train.outline.num_train // TEST_SHARE, True
    if test_rows == 0:
        raise ConfigError(
            f"dataset {text!r} has no test rows; name the set to test on behind an @, as in "
            f"{train_files.kind}:PATH@cifar10"
        )
    train_rows = train.outline.num_train - (test_rows if made else 0)
    keep_train, keep_test = (_kept(text, keep, n) for keep, n in zip(name.keep, (train_rows, test_rows), strict=True))
    content, digest = _digests(name, train, test, matching.relabel)
    own = Portion(
        files=train_files,
        split="train",
        part="train" if made else None,
        available=train.outline.num_train,
        count=keep_train,
    )
    return Located(
        name=name,
        content=content,
        digest=digest,
        shape=train.outline.shape,
        kind=train.outline.kind,
        num_classes=train.outline.num_classes,
        train=own,
        test=Portion(
            files=test_files,
            split="train" if made else "test",
            part="test" if made else None,
            available=test.outline.num_train if made else test.outline.num_test,
            count=keep_test,
            relabel=matching.relabel,
        ),
        classes=train.outline.classes,
        sizes=class_sizes(own, train.outline, text, digest),
        files=(train.files, test.files) if elsewhere else (train.files,),
        pooled=test.outline.pooled,
        matching=matching.remark,
        by_character=train.outline.by_character + (test.outline.by_character if elsewhere else 0),
    )


def _matching(text: str, train: Facts, test: Facts) -> Matching:
    """Return how the classes of two sets match. Raises ConfigError if one cannot be tested on the other."""
    alike = train.outline.kind == test.outline.kind and (
        train.outline.shape == test.outline.shape or train.outline.kind == "texts"
    )  # texts of any length are cut or padded
    matching = matched(train.outline, test.outline, text) if alike else Matching()
    if not alike or (not matching.relabel and train.outline.num_classes < test.outline.num_classes):
        raise ConfigError(
            f"dataset {text!r} trains on {_about(train)} and tests on {_about(test)}; both need the same shape, kind "
            "and classes"
        )
    return matching


def _kept(text: str, keep: int | None, available: int) -> int:
    if keep is not None and keep > available:
        raise ConfigError(f"dataset {text!r} asks for {keep} rows of a split that has {available}")
    return available if keep is None else keep


def _about(facts: Facts) -> str:
    return f"{facts.outline.shape} {facts.outline.kind} of {facts.outline.num_classes} classes"


def _digests(name: Name, train: Facts, test: Facts, relabel: tuple[int, ...]) -> tuple[str, str]:
    """Return the content digest, and the digest over it and the code of plug-ins that decode it, if any do.

    A feature that older versions did not have enters the content digest only if the set uses it.
    """
    parts: list[object] = [
        [files.kind, files.format.version, facts.digest] if files else None
        for files, facts in ((name.train, train), (name.test, test))
    ]
    embedding = name.train.format.embedding
    parts += [["embedding", embedding.identity]] if embedding else []
    for side, files in (("train", name.train), ("test", name.test)):
        parts += [[side, choice, value] for choice, value in _telling(files)] if files else []
    parts += [["relabel", *relabel]] if relabel else []
    parts += [["split words"]] if train.outline.newly_split or test.outline.newly_split else []
    parts += [["by character"]] if train.outline.by_character or test.outline.by_character else []
    parts += [["marks"]] if train.outline.newly_cut or test.outline.newly_cut else []
    content = hashlib.sha256(json.dumps([RULE, parts, name.keep]).encode()).hexdigest()
    plugins = [files.plugin for files in (name.train, name.test) if files]
    return content, hashlib.sha256(json.dumps([content, *plugins]).encode()).hexdigest() if any(plugins) else content


def _telling(files: Files) -> list[tuple[str, str]]:
    """Return the choices of `files` that change the set, compared with versions that had no choices.

    Those versions had only the order of text, and they did not refuse names that may or may not stand for a split.
    """
    choices = files.choices
    told = [("classes", NUMBER)] if choices.classes == NUMBER else []
    told += [("label", choices.label)] if choices.label else []
    told += [("size", f"{choices.size} {choices.crop} {SIZING}")] if choices.size else []
    return told + ([("splits", NONE)] if choices.splits and _has_splits(files) else [])


def _has_splits(files: Files) -> bool:
    """Return whether `files` have a training and a test split if their names are used."""
    try:
        outline = facts_of(replace(files, choices=replace(files.choices, splits=""))).outline
    except ConfigError:
        return False
    return outline.num_train > 0 and outline.num_test > 0
