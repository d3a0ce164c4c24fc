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
from nrf_ray.data.readers.parquet import SPLITS
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
    found = sorted(path.rglob(f"*.{ending}")) if path.is_dir() else [path]
    if not found:
        raise ConfigError(f"there is no file *.{ending} in {path}")
    return found


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
    for file in files(path, ending=ending):
        if file.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{file} is larger than the {MAX_BYTES} bytes that are read; write smaller files")
        texts, labels, splits = COLUMNS[ending](file)
        if len(texts) > MAX_ROWS:
            raise ConfigError(f"{file} has {len(texts)} rows; at most {MAX_ROWS} are read: write smaller files")
        for number, (text, label) in enumerate(zip(texts, labels, strict=True)):
            if not isinstance(text, str | None):
                raise ConfigError(f"row {number} of {file} is of type {type(text).__name__} and no text")
            if not text or text.isspace():
                raise ConfigError(f"row {number} of {file} is an empty text; leave it out")
            found = rows[_split(file, splits[number] if splits else None)]
            found.texts.append(text)
            found.labels.append(label)
    return rows


def _split(file: Path, name: str | None) -> Split:
    """Return the split of a row: as its column says, else as the name of the file does, else "train"."""
    if name is None:
        return SPLITS.get(file.name.partition("-")[0].partition(".")[0], "train")
    if name not in SPLITS:
        raise ConfigError(f"{file} has a split called {name!r}; splits are train and test")
    return SPLITS[name]


def _lengths(texts: Sequence[str], embedding: Embedding, path: Path) -> Iterator[int]:
    for text in texts:
        length = len(embedding.tokenise(text))
        if not length:
            raise ConfigError(f"{path} has a text without a word: {text[:40]!r}; leave it out")
        yield length


Columns = tuple[list[Any], list[int], list[str] | None]


def _parquet(file: Path) -> Columns:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        opened = pq.ParquetFile(file, page_checksum_verification=True)
        if opened.metadata.num_rows > MAX_ROWS:
            raise ConfigError(f"{file} has {opened.metadata.num_rows} rows; at most {MAX_ROWS} are read")
        _check_names(file, opened.schema_arrow.names)
        names = [name for name in ("text", "label", "split") if name in opened.schema_arrow.names]
        table = opened.read(columns=names)
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{file} is no parquet file that can be read: {error}") from error
    for name in names:
        if table[name].null_count:
            raise ConfigError(f"{file} has {table[name].null_count} rows without a {name}")
    if not pa.types.is_integer(table["label"].type):
        raise ConfigError(
            f"{file} has labels of type {table['label'].type}; they have to be whole numbers 0, 1, 2, ..."
        )
    try:
        split = table["split"].to_pylist() if "split" in names else None
        return table["text"].to_pylist(), table["label"].to_pylist(), split
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file} has texts that are not UTF-8 (byte {error.start} of one: {error.reason}); write it again from "
            "texts that were decoded by their own encoding"
        ) from error


def _csv(file: Path) -> Columns:
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            rows = csv.DictReader(opened, strict=True)
            _check_names(file, rows.fieldnames or ())
            listed = list(rows)
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file} is not UTF-8 (byte {error.start}: {error.reason}); convert it, as with iconv -f LATIN1 -t UTF-8"
        ) from error
    except csv.Error as error:
        raise ConfigError(f"{file} is no CSV file that can be read: {error}") from error
    labels = []
    for number, row in enumerate(listed):
        label = (row["label"] or "").strip()
        if not label.isdecimal() or len(label) > MOST_DIGITS:
            raise ConfigError(f"row {number} of {file} has the label {label!r}; labels are whole numbers 0, 1, 2, ...")
        labels.append(int(label))
    splits = [row["split"] or "" for row in listed] if listed and "split" in listed[0] else None
    return [row["text"] for row in listed], labels, splits


def _check_names(file: Path, names: Sequence[str]) -> None:
    missing = {"text", "label"} - set(names)
    if missing:
        raise ConfigError(f"{file} has no column {' or '.join(sorted(missing))}; it has {', '.join(names) or 'none'}")


COLUMNS: dict[str, Callable[[Path], Columns]] = {"parquet": _parquet, "csv": _csv}
"""How files are read, by their ending."""
