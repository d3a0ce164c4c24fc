"""Texts: a column `text`, a column `label`, and optionally a column `split` with train and test; as parquet or CSV.

The path is one file, or a folder whose files' names say their splits (see `members`). CSV is UTF-8, compressed by gzip
or not, with the column names in the first line. [label=NAME] behind the path names another column of labels.

Texts are cut at a length that 19 of 20 training texts do not exceed. Length and classes come from the training texts
alone, also if one row in six is drawn for testing because neither a column nor another set gives the test rows: nothing
is taken from test texts.
"""

import csv
import gzip
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from nrf_ray.data.embeddings import LEARNT, PAIRS, Embedding
from nrf_ray.data.members import CSV, PARQUET, files_of, passed_over
from nrf_ray.data.outline import (
    AS_IS,
    BATCH_ROWS,
    NONE,
    Batch,
    Choices,
    Format,
    Outline,
    Rows,
    Split,
    check_labels,
    classes_of,
    pack,
)
from nrf_ray.data.readers.columns import (
    agreed_names,
    check_names,
    class_names,
    column,
    is_text,
    label_column,
    labels_of,
    opened,
    split_column,
    splits_of,
    told_by,
    whole_numbers,
)
from nrf_ray.data.readers.encoding import opened_text
from nrf_ray.data.readers.seven_bits import check_seven_bits
from nrf_ray.data.readers.split_columns import Said, Told, add_row, check_said
from nrf_ray.data.splitting import split_rows
from nrf_ray.errors import ConfigError

MAX_BYTES = 2**30
MAX_ROWS = 2**22
MAX_LENGTH = 128
"""Largest number of tokens of a text that are read."""
MOST_DIGITS = 9
"""Largest number of digits of a label."""
CUT = 0.95
"""Share of the training texts that are not cut."""
csv.field_size_limit(2**24)


class Texts(NamedTuple):
    """The rows of one split, in order."""

    texts: list[str]
    labels: list[int]


class Table(NamedTuple):
    """The rows of a file."""

    texts: list[Any]
    labels: list[int]
    splits: list[Any] | None
    """Values of the column `split`; None if there is no such column."""
    classes: tuple[str, ...] = ()
    """Names of the classes, if the file has them."""
    told: Told | None = None
    """Columns that are not used and hold only split words."""


class Parsed(NamedTuple):
    """The rows of all files of a set."""

    rows: dict[Split, Texts]
    classes: tuple[str, ...]
    pooled: bool
    """See `Outline`."""
    newly_split: bool
    """See `Outline`."""


def format_of(ending: str, embedding: Embedding = LEARNT, choices: Choices = AS_IS) -> Format:
    """Return the format of files of texts (parquet or csv), with an embedding and the choices of a name."""
    outlined = partial(outline, ending=ending, choices=choices, embedding=embedding)
    return Format(
        files=partial(files, ending=ending),
        outline=outlined,
        outline_whole=partial(outlined, whole=True),
        read=partial(read, ending=ending, choices=choices),
        version=2,
        splits=True,
        embedding=embedding,
        embedded_by=lambda other: format_of(ending, other, choices),
        chosen_by=lambda other: format_of(ending, embedding, other),
        choices=("label", "splits"),
        passed_over=partial(passed_over, endings=ENDINGS[ending]),
    )


def files(path: Path, *, ending: str) -> Sequence[Path]:
    """Return the file `path`, or the files in the folder `path`, sorted by name."""
    return [Path(member.path) for member in files_of(path, ENDINGS[ending])]


def outline(path: Path, *, ending: str, choices: Choices, embedding: Embedding, whole: bool = False) -> Outline:
    """Return the outline from all rows. Training texts give length and classes; with `whole`, no row is for testing."""
    found = parsed(path, ending=ending, choices=choices)
    rows, names = found.rows, found.classes
    train, test = rows["train"], rows["test"]
    lengths = list(_lengths(train.texts, embedding, path))
    of_test = list(_lengths(test.texts, embedding, path))
    told = range(len(train.labels)) if whole or test.labels else split_rows(len(train.labels))[0].tolist()
    num_classes = classes_of([train.labels[row] for row in told], test.labels, path)
    check_labels(train.labels, num_classes, path)
    known = sorted(lengths[row] for row in told) or sorted(of_test)
    if embedding.needs_pairs and train.labels and known[-1] < 2:
        raise ConfigError(f"{path} has one word in each training text, and {PAIRS}")
    return Outline(
        shape=(1, min(known[math.ceil(CUT * len(known)) - 1], MAX_LENGTH), embedding.width),
        num_classes=num_classes,
        num_train=len(train.labels),
        num_test=len(test.labels),
        kind="texts",
        classes=names[:num_classes] if len(names) >= num_classes else (),
        labels=(pack(train.labels), pack(test.labels)),
        pooled=found.pooled,
        newly_split=found.newly_split,
        by_character=sum(map(embedding.by_character, (*train.texts, *test.texts))),
        newly_cut=any(map(embedding.newly_cut, (*train.texts, *test.texts))),
    )


def read(path: Path, split: Split, rows: Rows, *, ending: str, choices: Choices) -> Iterator[Batch]:
    """Yield the texts of `rows` of `split`."""
    import numpy as np

    found = parsed(path, ending=ending, choices=choices).rows[split]
    for start in range(0, len(rows), BATCH_ROWS):
        chosen = rows[start : start + BATCH_ROWS].tolist()
        texts = np.array([found.texts[row] for row in chosen], object)
        yield Batch(texts, np.array([found.labels[row] for row in chosen], np.int64))


def parsed(path: Path, *, ending: str, choices: Choices) -> Parsed:
    """Return the texts and labels of both splits."""
    stamp = tuple((file.stat().st_size, file.stat().st_mtime_ns) for file in files(path, ending=ending))
    return _parsed(path, ending, choices, stamp)


@lru_cache(maxsize=2)
def _parsed(path: Path, ending: str, choices: Choices, stamp: object) -> Parsed:
    """Return the rows of all files, by split; `stamp` changes with the files, so that the cache is not used then."""
    del stamp
    rows: dict[Split, Texts] = {"train": Texts([], []), "test": Texts([], [])}
    members = files_of(path, ENDINGS[ending])
    tables = [_table(Path(member.path), ending, choices) for member in members]
    columns, counts = [table.splits for table in tables], [len(table.texts) for table in tables]
    told = splits_of(path, members, columns, counts, choices)
    if choices.splits != NONE:
        check_said(
            path, [Said(*said) for said in zip(members, told.rows, [table.told or {} for table in tables], strict=True)]
        )
    for member, table, splits in zip(members, tables, told.rows, strict=True):
        check_seven_bits(member.path, table.texts)
        for number, (text, label, split) in enumerate(zip(table.texts, table.labels, splits, strict=True)):
            if not text or text.isspace():
                raise ConfigError(f"row {number} of {member.path} is an empty text; remove it")
            rows[split].texts.append(text)
            rows[split].labels.append(label)
    return Parsed(rows, agreed_names(path, [table.classes for table in tables]), told.pooled, told.newly)


def _table(file: Path, ending: str, choices: Choices) -> Table:
    if file.stat().st_size > MAX_BYTES:
        raise ConfigError(f"{file} is larger than {MAX_BYTES} bytes, the most that is read; write smaller files")
    return COLUMNS[ending](file, choices)


def _lengths(texts: Sequence[str], embedding: Embedding, path: Path) -> Iterator[int]:
    for text in texts:
        length = len(embedding.tokenise(text))
        if not length:
            raise ConfigError(f"{path} has a text without words: {text[:40]!r}; remove it")
        yield length


def _parquet(file: Path, choices: Choices) -> Table:
    import pyarrow.compute as pc

    form = opened(file)
    if not form.metadata.num_rows and len(form.schema_arrow.names):
        return Table([], [], None)
    label = label_column(file, form.schema_arrow.names, whole_numbers(form), choices)
    check_names(file, form.schema_arrow.names, ("text", label))
    if form.metadata.num_rows > MAX_ROWS:
        raise ConfigError(f"{file} has {form.metadata.num_rows} rows; at most {MAX_ROWS} are read: write smaller files")
    kind = form.schema_arrow.field("text").type
    if not is_text(kind):
        raise ConfigError(f"{file} has texts of type {kind}; they must be strings")
    # Read as a dictionary, since a few bytes can encode any number of equal texts.
    found = column(file, "text", read_dictionary=["text"])
    size = sum(pc.sum(pc.binary_length(part.dictionary).take(part.indices)).as_py() or 0 for part in found.chunks)
    if size > MAX_BYTES:
        raise ConfigError(f"{file} has {size} bytes of texts; at most {MAX_BYTES} are read: write smaller files")
    try:
        texts = found.to_pylist()
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file} has texts that are not UTF-8 (byte {error.start} of a text: {error.reason}); write the file again "
            "from texts that were decoded by their own encoding"
        ) from error
    told = told_by(file, form, ("text", label))
    return Table(texts, labels_of(file, label), split_column(file), class_names(form, label), told)


def _csv(file: Path, choices: Choices) -> Table:
    found = Table([], [], [])
    rows = None
    try:
        with opened_text(file, MAX_BYTES) as lines:
            rows = csv.DictReader(lines, strict=True)
            names = list(rows.fieldnames or ())
            label = choices.label or "label"
            check_names(file, names, ("text", label))
            others = {name: set[str]() for name in names if name not in ("text", label)}
            told: Told = {} if "split" in names else others
            for number, row in enumerate(rows):
                if number == MAX_ROWS:
                    raise ConfigError(f"{file} has more than {MAX_ROWS} rows; write smaller files")
                _check_values(file, number, row, rows.line_num, len(names))
                add_row(told, row)
                found.texts.append(row["text"])
                found.labels.append(_label(file, number, row[label].strip()))
                found.splits.append(row.get("split", "")) if found.splits is not None else None
    except csv.Error as error:
        line = f" in line {rows.reader.line_num}" if rows else ""
        raise ConfigError(f"{file} is not a readable CSV file{line}: {error}") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ConfigError(f"{file} is damaged: {error}") from error
    return found._replace(splits=found.splits if "split" in names else None, told=told)


def _check_values(file: Path, number: int, row: Mapping[str | None, Any], line: int, columns: int) -> None:
    if None in row or None in row.values():
        raise ConfigError(
            f"row {number} of {file} (it ends in line {line}) does not have one value for each of the {columns} "
            "columns; put a text with a comma or a line break in quotes"
        )


def _label(file: Path, number: int, text: str) -> int:
    if not text.isdecimal() or len(text) > MOST_DIGITS:
        raise ConfigError(f"row {number} of {file} has the label {text!r:.40}; labels are whole numbers 0, 1, 2, ...")
    return int(text)


ENDINGS = {"parquet": PARQUET, "csv": CSV}
"""Endings of the files of each kind."""
COLUMNS: dict[str, Callable[[Path, Choices], Table]] = {"parquet": _parquet, "csv": _csv}
"""Functions that read a file of each kind."""
