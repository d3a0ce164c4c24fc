"""Columns beside `split` whose values stand for splits, and files without rows: neither may put rows in a wrong split.

No column but `split` is used for splits. If another one holds the words of two splits, as `subset` or `is_test` may,
and the rows are not split as it says, the set is refused: its test rows would be trained on.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from nrf_ray.data.members import VALIDATION, WORDS, Member, split_in
from nrf_ray.data.outline import Split
from nrf_ray.errors import ConfigError

ANY = "|".join(WORDS)
FLAG = re.compile(rf"\s*(?:is|in|for)[ _-]?({ANY})(?:[ _-]?(?:set|split))?\s*", re.IGNORECASE)
"""Names of columns that say by 0 and 1 whether a row is in a split."""
VALUE = re.compile(rf"\s*(?:public|private)?[ _-]?({ANY})(?:[ _-]?(?:set|split|data))?\s*", re.IGNORECASE)
"""Values that stand for a split."""
SWITCH = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True, "no": False, "yes": True}

Told = dict[str, set[str]]
"""Columns of a file that hold only split words so far, and these words."""


class Said(NamedTuple):
    """How the rows of a file are split, and what its columns say."""

    file: Member
    splits: Sequence[Split]
    """Split of every row."""
    told: Told
    """Columns that are not used."""


def add_row(told: Told, row: Mapping[Any, Any]) -> None:
    """Add the values of `row` to `told`, and drop the columns in which they are not split words; blanks are ignored."""
    for column in [*told]:
        value = row[column]
        word = _word(column, str(value)) if value not in (None, "") else ""
        if word is None:
            del told[column]
        elif word:
            told[column].add(word)


def check_said(path: Path, files: Sequence[Said]) -> None:
    """Raise ConfigError if a column tells splits that the rows do not have, or if a split has only files without rows.

    Such a file named for testing would leave the set without test rows, so that training rows were drawn for testing.
    """
    for column in dict.fromkeys(chain.from_iterable(said.told for said in files)):
        words = sorted({word for said in files for word in said.told.get(column, ())})
        if len({"validation" if word in VALIDATION else WORDS[word] for word in words}) > 1:
            _check_column(column, words, files)
    held = {split for said in files for split in set(said.splits)}
    for said in files:
        if not said.splits and (missing := split_in(said.file.parts) - held):
            raise ConfigError(
                f"{said.file.path} has no rows, and no other file in {path} has rows for {missing.pop()}ing: write "
                "the rows into it, or remove it"
            )


def _check_column(column: str, words: Sequence[str], files: Sequence[Said]) -> None:
    for said in files:
        if {WORDS[word] for word in said.told.get(column, ())} - set(said.splits[:1]):
            raise ConfigError(
                f"column {column!r} of {said.file.path} holds split names ({', '.join(words)}), but only a column "
                "called split is used: call it split, with the values train and test, or leave it out"
            )


@lru_cache(maxsize=1024)
def _word(column: str, value: str) -> str | None:
    """Return the split word that a value of `column` stands for, in lower case; None if it does not stand for one."""
    flag, text = FLAG.fullmatch(column), value.strip().lower()
    if flag and text in SWITCH:
        word = flag[1].lower()
        return word if SWITCH[text] else {"train": "test", "test": "train"}[WORDS[word]]
    found = VALUE.fullmatch(value)
    return found[1].lower() if found else None
