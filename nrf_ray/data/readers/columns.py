"""The columns of parquet files, within bounds, and which split a row belongs to: for images and for texts alike."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nrf_ray.data.members import Member, splits_by_name
from nrf_ray.data.outline import NONE, Choices, Split
from nrf_ray.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

MAX_ROWS = 2**24
MAX_GROUP_BYTES = 2**33
"""Of a file: a few bytes can stand for any number of equal rows, and a page for any number of equal pixels."""

SPLITS: dict[str, Split] = {"train": "train", "test": "test", "validation": "test", "valid": "test", "val": "test"}
"""Values of a column `split`."""


def opened(file: Path, *needed: str) -> Any:
    """Return a parquet file that has the columns `needed`, and each of them and "split" once."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.ParquetFile(file, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{file} is no parquet file that can be read: {error}") from error
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
    """Raise ConfigError where a column is missing, or is there more than once."""
    missing = sorted(set(needed) - set(names))
    if missing:
        raise ConfigError(f"{file} has no column {' or '.join(missing)}; it has {', '.join(names) or 'none'}")
    twice = [name for name in (*needed, "split") if names.count(name) > 1]
    if twice:
        raise ConfigError(f"{file} has {names.count(twice[0])} columns called {twice[0]}; leave one")


def column(file: Path, name: str, **options: Any) -> "pa.ChunkedArray":
    """Return a column without missing values."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.ParquetFile(file, page_checksum_verification=True, **options).read(columns=[name])[name]
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{file} is damaged: {error}") from error
    if found.null_count:
        raise ConfigError(f"{file} has {found.null_count} rows without a {name}")
    return found


def label_column(file: Path, names: Sequence[str], numbers: Sequence[str], choices: Choices) -> str:
    """Return which of the columns `names` has the labels: the chosen one, else `label`.

    Raises ConfigError where it is not there; it asks which of `numbers`, columns of whole numbers, is meant.
    """
    if choices.label:
        check_names(file, names, (choices.label,))
        return choices.label
    if "label" not in names and numbers:
        raise ConfigError(
            f"{file} has no column label; write which of {', '.join(numbers)} has the labels behind the path, as in "
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
        raise ConfigError(f"{file} has labels of type {found.type}; they have to be whole numbers 0, 1, 2, ...")
    return list(found.to_pylist())


def class_names(file: Any, label: str) -> tuple[str, ...]:
    """Return the names of the classes that Hugging Face's library keeps with an opened parquet file; else nothing."""
    try:
        about = json.loads((file.schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
        names = about["info"]["features"][label]["names"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
    is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return tuple(names) if is_list and len({*names}) == len(names) else ()


def agreed_names(path: Path, found: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the names of classes that all files at `path` agree on; nothing where none has any."""
    named = list(dict.fromkeys(names for names in found if names))
    if len(named) > 1:
        raise ConfigError(
            f"{path} has files whose labels mean different classes: {', '.join(named[0])}, and {', '.join(named[1])}; "
            "write them again with one numbering"
        )
    return named[0] if named else ()


def splits_of(
    path: Path, files: Sequence[Member], columns: Sequence[Sequence[Any] | None], rows: Sequence[int], choices: Choices
) -> list[list[Split]]:
    """Return the split of every row of each of `files` at `path`: as its column says, else as its name does.

    Where no file is named for a split, nor its folder below `path`, all are for training; where some are, another name
    is refused. Where `choices` say so, names say nothing.
    """
    bare = [file for file, names in zip(files, columns, strict=True) if names is None]
    by_name: dict[Member, Split] = dict.fromkeys(bare, "train")
    if choices.splits != NONE:
        by_name = dict(zip(bare, splits_by_name(path, files, bare), strict=True))
    return [
        [by_name[file]] * count if names is None else _by_column(Path(file.path), names)
        for file, names, count in zip(files, columns, rows, strict=True)
    ]


def split_column(file: Path) -> list[Any] | None:
    """Return what the column "split" says of every row; None without one."""
    if "split" not in opened(file).schema_arrow.names:
        return None
    return list(column(file, "split").to_pylist())


def _by_column(file: Path, names: Sequence[Any]) -> list[Split]:
    unknown = sorted({str(name) for name in names if not isinstance(name, str) or name not in SPLITS})
    if unknown:
        raise ConfigError(f"{file} has a split called {unknown[0]!r}; splits are train and test")
    return [SPLITS[name] for name in names]
