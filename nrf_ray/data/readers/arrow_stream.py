"""Arrow files as Hugging Face's `datasets` writes them (streams), read like parquet files and mapped into memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa

ENDING = ".arrow"


class About(NamedTuple):
    """What pyarrow's metadata of a parquet file says, of an Arrow file."""

    num_rows: int
    num_row_groups: int = 0


class ArrowFile:
    """An Arrow file with the methods of `pyarrow.parquet.ParquetFile` that readers use."""

    def __init__(self, file: Path) -> None:
        """Raises ArrowException or OSError if `file` is not an Arrow stream."""
        import pyarrow as pa

        self._table = pa.ipc.open_stream(pa.memory_map(str(file))).read_all()
        self.schema_arrow = self._table.schema
        self.metadata = About(self._table.num_rows)

    def read(self, columns: Sequence[str]) -> "pa.Table":
        """Return the table of some columns."""
        return self._table.select(columns)

    def iter_batches(self, batch_size: int, columns: Sequence[str]) -> Iterator[Any]:
        """Yield some columns in batches of at most `batch_size` rows."""
        return iter(self._table.select(columns).to_batches(max_chunksize=batch_size))
