"""The columns of parquet files, within bounds, and which split a row belongs to: for images and for texts alike."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nrf_ray.data.outline import Split
from nrf_ray.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

MAX_ROWS = 2**24
MAX_GROUP_BYTES = 2**33
"""Of a file: a few bytes can stand for any number of equal rows, and a page for any number of equal pixels."""

SPLITS: dict[str, Split] = {"train": "train", "test": "test", "validation": "test", "valid": "test", "val": "test"}
NAMED = re.compile(rf"({'|'.join(SPLITS)})(?![a-z])", re.IGNORECASE)
"""How names of files and folders begin that are those of a split: train-00000, Test.csv, validation."""


def files_of(path: Path, found: Sequence[Path], ending: str) -> Sequence[Path]:
    """Return the files among what was `found` in the folder `path`, by name, or `path` itself where it is none."""
    if not path.is_dir():
        return [path]
    files = sorted(file for file in found if not file.is_dir())
    if not files:
        raise ConfigError(f"there is no file *.{ending} in {path}")
    return files


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


def labels_of(file: Path) -> list[int]:
    """Return the label of every row."""
    import pyarrow as pa

    found = column(file, "label")
    if not pa.types.is_integer(found.type):
        raise ConfigError(f"{file} has labels of type {found.type}; they have to be whole numbers 0, 1, 2, ...")
    return list(found.to_pylist())


def splits_of(path: Path, file: Path, files: Sequence[Path], names: Sequence[Any] | None, rows: int) -> list[Split]:
    """Return the split of every row of `file`, one of `files` at `path`: as its column says, else as its name does.

    Where no file is named for a split, nor its folder below `path`, all are for training; where some are, another name
    is refused.
    """
    if names is not None:
        unknown = sorted({str(name) for name in names if not isinstance(name, str) or name not in SPLITS})
        if unknown:
            raise ConfigError(f"{file} has a split called {unknown[0]!r}; splits are train and test")
        return [SPLITS[name] for name in names]
    named = _named_split(path, file)
    if named is None and any(_named_split(path, other) for other in files):
        raise ConfigError(
            f"{file} has no column split, and neither its name nor its folder's begins with train, test or validation "
            "as those of others do; take it out, or give it the column"
        )
    return [named or "train"] * rows


def split_column(file: Path) -> list[Any] | None:
    """Return what the column "split" says of every row; None without one."""
    if "split" not in opened(file).schema_arrow.names:
        return None
    return list(column(file, "split").to_pylist())


def _named_split(path: Path, file: Path) -> Split | None:
    """Return the split that the name of `file` begins with, or else a folder's between `path` and it; None without."""
    between = file.relative_to(path).parts[:-1] if file != path else ()
    for name in (file.name, *reversed(between)):
        if found := NAMED.match(name):
            return SPLITS[found[1].lower()]
    return None
