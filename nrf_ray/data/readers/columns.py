"""Columns of parquet and Arrow files, read within size limits, and the split of each row; for images and for texts."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nrf_ray.data.members import WORDS, Member, are_pooled, old_split, splits_by_name, words_in
from nrf_ray.data.outline import BATCH_ROWS, NONE, Choices, Split
from nrf_ray.data.readers.arrow_stream import ENDING, ArrowFile
from nrf_ray.data.readers.beginnings import other_kind
from nrf_ray.data.readers.split_columns import FLAG, Told, add_row
from nrf_ray.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

MAX_ROWS = 2**24
MAX_GROUP_BYTES = 2**33
"""Largest row group: a few bytes can encode any number of equal rows, and a page any number of equal pixels."""


SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
"""Signs that separate the columns of files which are called CSV too."""


class Splits(NamedTuple):
    """The split of every row of some files."""

    rows: list[list[Split]]
    """Splits of the rows of each file."""
    pooled: bool
    """Whether rows for validation and rows for testing are in one split."""
    newly: bool
    """Whether the name of a file put its rows into another split than older versions did."""


def _table_file(file: Path, **options: Any) -> Any:
    """Open a parquet or Arrow file, by its ending."""
    import pyarrow.parquet as pq

    if file.suffix == ENDING:
        return ArrowFile(file)
    return pq.ParquetFile(file, page_checksum_verification=True, **options)


def opened(file: Path, *needed: str) -> Any:
    """Open a parquet or Arrow file.

    Raises ConfigError unless it has each column of `needed` once, and "split" at most once.
    """
    import pyarrow as pa

    try:
        found = _table_file(file)
    except (pa.ArrowException, OSError) as error:
        other = other_kind(file, b"PAR1")
        kind = "Arrow" if file.suffix == ENDING else "parquet"
        raise ConfigError(f"{file} is not a readable {kind} file: {f'it is {other}' if other else error}") from error
    rows = found.metadata.num_rows
    groups = range(found.metadata.num_row_groups)
    largest = max((found.metadata.row_group(group).total_byte_size for group in groups), default=0)
    if rows > MAX_ROWS or largest > MAX_GROUP_BYTES:
        raise ConfigError(
            f"{file} has {rows} rows and row groups of up to {largest} bytes; at most {MAX_ROWS} and {MAX_GROUP_BYTES} "
            "are read: write smaller files"
        )
    check_names(file, found.schema_arrow.names, needed)
    return found


def check_names(file: Path, names: Sequence[str], needed: Sequence[str]) -> None:
    """Raise ConfigError if a column is missing, or there is more than one of its name."""
    missing = sorted(set(needed) - set(names))
    if missing:
        has = f"it has {', '.join(names) or 'none'}"
        raise ConfigError(f"{file} has no column {' or '.join(missing)}; {has}{_remedy(names, missing)}")
    nearly = [name for name in names if name != "split" and name.strip().lower() == "split"]
    if nearly:
        raise ConfigError(f"{file} has a column called {nearly[0]!r}; call it split if it has the splits, or remove it")
    twice = [name for name in (*needed, "split") if names.count(name) > 1]
    if twice:
        raise ConfigError(f"{file} has {names.count(twice[0])} columns called {twice[0]}; keep only one")


def _remedy(names: Sequence[str], missing: Sequence[str]) -> str:
    """Return what to do about `missing` columns, if the names of the columns show it; otherwise nothing."""
    if names and names[0].strip().lower().startswith("sep="):
        return ": remove the first line, which Excel reads and no column is named by, and separate columns by commas"
    for mark, called in SEPARATORS.items():
        if len(names) == 1 and mark in names[0]:
            return (
                f": its columns are separated by {called}, not by commas; write it again, as in "
                f"pandas.read_csv(FILE, sep={mark!r}).to_csv(FILE, index=False)"
            )
    nearly = {name: plain for name in names if (plain := name.strip().lower()) in missing}
    renamed = " and ".join(f"{name!r} to {plain!r}" for name, plain in nearly.items())
    return f": rename {renamed}" if renamed else ""


def column(file: Path, name: str, **options: Any) -> "pa.ChunkedArray":
    """Return a column. Raises ConfigError if values are missing."""
    import pyarrow as pa

    try:
        found = _table_file(file, **options).read(columns=[name])[name]
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{file} is damaged: {error}") from error
    if found.null_count:
        raise ConfigError(f"{file} has {found.null_count} rows without a {name}")
    return found


def label_column(file: Path, names: Sequence[str], numbers: Sequence[str], choices: Choices) -> str:
    """Return which of the columns `names` has the labels: the chosen column, or `label`.

    Raises ConfigError if that column is missing; the message lists `numbers`, the columns of whole numbers.
    """
    if choices.label:
        check_names(file, names, (choices.label,))
        return choices.label
    if "label" not in names and numbers:
        raise ConfigError(
            f"{file} has no column label; name the column of labels (of {', '.join(numbers)}) behind the path, as in "
            f"[label={numbers[0]}]"
        )
    return "label"


def whole_numbers(file: Any) -> list[str]:
    """Return the names of the columns of whole numbers of an opened parquet file."""
    import pyarrow as pa

    return [field.name for field in file.schema_arrow if pa.types.is_integer(field.type)]


def labels_of(file: Path, name: str) -> list[int]:
    """Return the label of every row, from the column `name`."""
    import pyarrow as pa

    found = column(file, name)
    if not pa.types.is_integer(found.type):
        raise ConfigError(f"{file} has labels of type {found.type}; they must be whole numbers 0, 1, 2, ...")
    return list(found.to_pylist())


def class_names(file: Any, label: str) -> tuple[str, ...]:
    """Return the class names that Hugging Face's library stores in a parquet file; empty if there are none."""
    try:
        about = json.loads((file.schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
        names = about["info"]["features"][label]["names"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
    is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return tuple(names) if is_list and len({*names}) == len(names) else ()


def agreed_names(path: Path, found: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the class names that all files at `path` agree on; empty if no file has class names."""
    named = list(dict.fromkeys(names for names in found if names))
    if len(named) > 1:
        raise ConfigError(
            f"{path} has files whose labels mean different classes: {', '.join(named[0])}, and {', '.join(named[1])}; "
            "write them again with one numbering"
        )
    return named[0] if named else ()


def splits_of(
    path: Path, files: Sequence[Member], columns: Sequence[Sequence[Any] | None], rows: Sequence[int], choices: Choices
) -> Splits:
    """Return the split of every row of each of `files` at `path`: from the column `split`, or else from its name.

    If no file and no folder below `path` is named for a split, all rows are for training. If some are named for a
    split, a name without a split word is refused. With [splits=none] in `choices`, names are ignored.
    """
    bare = [file for file, names in zip(files, columns, strict=True) if names is None]
    by_name: dict[Member, Split] = dict.fromkeys(bare, "train")
    if choices.splits != NONE:
        by_name = dict(zip(bare, splits_by_name(path, files, bare), strict=True))
    every = [
        [by_name[file]] * count if names is None else _by_column(Path(file.path), names)
        for file, names, count in zip(files, columns, rows, strict=True)
    ]
    words = {name.lower() for names in columns for name in set(names or ())}
    if choices.splits != NONE:
        words |= words_in(part for file in bare for part in file.parts)
    newly = any(split != old_split(file.parts) for file, split in by_name.items())
    return Splits(every, pooled=are_pooled(words), newly=newly)


def split_column(file: Path) -> list[Any] | None:
    """Return the values of the column "split", or None if there is no such column."""
    if "split" not in opened(file).schema_arrow.names:
        return None
    return list(column(file, "split").to_pylist())


def told_by(file: Path, form: Any, used: Sequence[str]) -> Told:
    """Return the columns of an opened file that hold only split words; none if it has a column `split`.

    `used` columns are left out. An ordinary column is left after its first rows; a column that begins with split words
    is read to its end. Columns of text are read as dictionaries, since a few bytes can encode any number of equal rows.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    names = form.schema_arrow.names
    others = [field for field in form.schema_arrow if field.name not in used and names.count(field.name) == 1]
    texts = [field.name for field in others if is_text(field.type)]
    told: Told = {field.name: set() for field in others if field.name in texts or FLAG.fullmatch(field.name)}
    if "split" in names or not told:
        return {}
    opened_again = _table_file(file, read_dictionary=texts)
    for name in [*told]:
        with suppress(pa.ArrowException, OSError, UnicodeDecodeError):  # a damaged column that is not used
            for batch in opened_again.iter_batches(batch_size=BATCH_ROWS, columns=[name]):
                for value in pc.unique(batch[name]).to_pylist():
                    add_row(told, {**dict.fromkeys(told), name: value})
                if name not in told:
                    break
    return told


def is_text(kind: "pa.DataType") -> bool:
    """Return whether a column of type `kind` holds strings, as they are or as a dictionary."""
    import pyarrow as pa

    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(is_so(value) for is_so in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _by_column(file: Path, names: Sequence[Any]) -> list[Split]:
    unknown = sorted({str(name) for name in names if not isinstance(name, str) or name.lower() not in WORDS})
    if unknown:
        raise ConfigError(f"{file} has a split called {unknown[0]!r}; splits are {', '.join(WORDS)}")
    return [WORDS[name.lower()] for name in names]
