"""Texts: a column `text`, a column `label`, and perhaps a column `split` with train and test; as parquet or as CSV.

The path is one file, or a folder whose files, at any depth, are called train..., and test... or validation..., as on
the Hugging Face hub. CSV is UTF-8 with the names of its columns in the first line. A text is cut where 19 of 20
training texts are at their end. Length and classes are those of the training texts, also where one row in six is for
testing because neither a column nor another set says which are: nothing of a test text is known beforehand.
"""

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from nrf_ray.data.embeddings import LEARNT, Embedding
from nrf_ray.data.outline import BATCH_ROWS, Batch, Format, Outline, Rows, Split, check_labels, count_classes
from nrf_ray.data.readers.columns import check_names, column, files_of, labels_of, opened, split_column, splits_of
from nrf_ray.data.splitting import split_rows
from nrf_ray.errors import ConfigError

MAX_BYTES = 2**30
MAX_ROWS = 2**22
MAX_LENGTH = 128
"""Tokens of a text that are read at most."""
MOST_DIGITS = 9
"""Of a label."""
CUT = 0.95
"""Share of the training texts that are not cut."""
csv.field_size_limit(2**24)


class Texts(NamedTuple):
    """The rows of one split, in order."""

    texts: list[str]
    labels: list[int]


def format_of(ending: str, embedding: Embedding = LEARNT) -> Format:
    """Return how files with this ending, parquet or csv, are read, and their texts embedded."""
    return Format(
        files=partial(files, ending=ending),
        outline=partial(outline, ending=ending, embedding=embedding),
        outline_whole=partial(outline, ending=ending, embedding=embedding, whole=True),
        read=partial(read, ending=ending),
        version=2,
        splits=True,
        embedding=embedding,
        embedded_by=partial(format_of, ending),
    )


def files(path: Path, *, ending: str) -> Sequence[Path]:
    """Return the file at `path`, or the files in it, by name."""
    return files_of(path, list(path.rglob(f"*.{ending}")), ending)


def outline(path: Path, *, ending: str, embedding: Embedding, whole: bool = False) -> Outline:
    """Read everything: the longest training texts, all rows without a split if `whole`, decide how long texts are."""
    train, test = (split_of(path, split, ending=ending) for split in ("train", "test"))
    lengths, _ = (list(_lengths(rows.texts, embedding, path)) for rows in (train, test))
    told = range(len(train.labels)) if whole or test.labels else split_rows(len(train.labels))[0].tolist()
    num_classes = count_classes((train.labels[row] for row in told), path)
    check_labels([*train.labels, *test.labels], num_classes, path)
    known = sorted(lengths[row] for row in told)
    length = min(known[math.ceil(CUT * len(known)) - 1], MAX_LENGTH)
    return Outline(
        shape=(1, length, embedding.width),
        num_classes=num_classes,
        num_train=len(train.labels),
        num_test=len(test.labels),
        kind="texts",
    )


def read(path: Path, split: Split, rows: Rows, *, ending: str) -> Iterator[Batch]:
    """Yield the texts of `rows` of `split`."""
    import numpy as np

    found = split_of(path, split, ending=ending)
    for start in range(0, len(rows), BATCH_ROWS):
        chosen = rows[start : start + BATCH_ROWS].tolist()
        texts = np.array([found.texts[row] for row in chosen], object)
        yield Batch(texts, np.array([found.labels[row] for row in chosen], np.int64))


def split_of(path: Path, split: Split, *, ending: str) -> Texts:
    """Return the texts and labels of `split`."""
    stamp = tuple((file.stat().st_size, file.stat().st_mtime_ns) for file in files(path, ending=ending))
    return _parsed(path, ending, stamp)[split]


@lru_cache(maxsize=2)
def _parsed(path: Path, ending: str, stamp: object) -> dict[Split, Texts]:
    """Return the rows of all files, by split; `stamp` says which state of the files they are."""
    del stamp
    rows: dict[Split, Texts] = {"train": Texts([], []), "test": Texts([], [])}
    found = files(path, ending=ending)
    for file in found:
        if file.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{file} is larger than the {MAX_BYTES} bytes that are read; write smaller files")
        texts, labels, names = COLUMNS[ending](file)
        splits = splits_of(path, file, found, names, len(texts))
        for number, (text, label, split) in enumerate(zip(texts, labels, splits, strict=True)):
            if not text or text.isspace():
                raise ConfigError(f"row {number} of {file} is an empty text; leave it out")
            rows[split].texts.append(text)
            rows[split].labels.append(label)
    return rows


def _lengths(texts: Sequence[str], embedding: Embedding, path: Path) -> Iterator[int]:
    for text in texts:
        length = len(embedding.tokenise(text))
        if not length:
            raise ConfigError(f"{path} has a text without a word: {text[:40]!r}; leave it out")
        yield length


Columns = tuple[list[Any], list[int], list[Any] | None]


def _parquet(file: Path) -> Columns:
    import pyarrow as pa
    import pyarrow.compute as pc

    form = opened(file, "text", "label")
    if form.metadata.num_rows > MAX_ROWS:
        raise ConfigError(f"{file} has {form.metadata.num_rows} rows; at most {MAX_ROWS} are read: write smaller files")
    kind = form.schema_arrow.field("text").type
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not any(is_so(value) for is_so in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)):
        raise ConfigError(f"{file} has texts of type {kind}; they have to be strings")
    # As a dictionary, since a few bytes can stand for any number of equal texts.
    found = column(file, "text", read_dictionary=["text"])
    size = sum(pc.sum(pc.binary_length(part.dictionary).take(part.indices)).as_py() or 0 for part in found.chunks)
    if size > MAX_BYTES:
        raise ConfigError(f"{file} has {size} bytes of texts; at most {MAX_BYTES} are read: write smaller files")
    try:
        texts = found.to_pylist()
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file} has texts that are not UTF-8 (byte {error.start} of one: {error.reason}); write it again from "
            "texts that were decoded by their own encoding"
        ) from error
    return texts, labels_of(file), split_column(file)


def _csv(file: Path) -> Columns:
    texts: list[str] = []
    labels: list[int] = []
    splits: list[str] = []
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.DictReader(lines, strict=True)
            names = list(rows.fieldnames or ())
            check_names(file, names, ("text", "label"))
            for number, row in enumerate(rows):
                if number == MAX_ROWS:
                    raise ConfigError(f"{file} has more than {MAX_ROWS} rows; write smaller files")
                if None in row or None in row.values():
                    raise ConfigError(
                        f"row {number} of {file} (it ends in line {rows.line_num}) has another number of values than "
                        f"the {len(names)} columns; a text with a comma or a line break stands in quotes"
                    )
                label = row["label"].strip()
                if not label.isdecimal() or len(label) > MOST_DIGITS:
                    raise ConfigError(
                        f"row {number} of {file} has the label {label!r:.40}; labels are whole numbers 0, 1, 2, ..."
                    )
                texts.append(row["text"])
                labels.append(int(label))
                splits.append(row.get("split", ""))
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file} is not UTF-8 (byte {error.start}: {error.reason}); convert it, as with iconv -f LATIN1 -t UTF-8"
        ) from error
    except csv.Error as error:
        raise ConfigError(f"{file} is no CSV file that can be read: {error}") from error
    return texts, labels, splits if "split" in names else None


COLUMNS: dict[str, Callable[[Path], Columns]] = {"parquet": _parquet, "csv": _csv}
"""How files are read, by their ending."""
