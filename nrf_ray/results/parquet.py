"""Write and read the result tables as parquet: schema from `tables`, rows sorted; the same rows give the same bytes."""

import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nrf_ray.errors import MissingArtifact
from nrf_ray.graph.blobs import Blobs
from nrf_ray.sweep.table import Table

_TYPES = {
    "string": pa.string(),
    "float64": pa.float64(),
    "int64": pa.int64(),
    "bool": pa.bool_(),
    "int64s": pa.list_(pa.field("element", pa.int64())),
}


def schema(table: Table) -> pa.Schema:
    """Return the arrow schema of `table`; each field carries its description and unit."""
    fields = [
        pa.field(column.name, _TYPES[column.type], metadata={"description": column.description, "unit": column.unit})
        for column in table.columns
    ]
    return pa.schema(fields, metadata={"table": table.name, "row": table.row})


def to_arrow(table: Table, rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Return `rows` as an arrow table in declared column order, sorted by all columns from the first on, lists last.

    NaN becomes null, which every parquet reader takes as missing.
    """
    rows = [{name: None if value != value else value for name, value in row.items()} for row in rows]
    for row in rows:
        assert set(row) == set(table.column_names()), f"row of {table.name}: {set(row) ^ set(table.column_names())}"
    lists = [column.name for column in table.columns if column.type == "int64s"]
    by_lists = sorted(rows, key=lambda row: [row[name] or [] for name in lists])
    made = pa.Table.from_pylist(by_lists, schema=schema(table))
    return made.sort_by([(name, "ascending") for name in table.column_names() if name not in lists])


def write_table(blobs: Blobs, name: str, table: Table, rows: Sequence[dict[str, Any]], preset: str = "") -> bool:
    """Replace the blob `name` atomically by the parquet file of `rows`; its metadata names the preset.

    Returns whether that changed it.
    """
    sink, made = io.BytesIO(), to_arrow(table, rows)
    if preset:
        made = made.replace_schema_metadata({**made.schema.metadata, "preset": preset})
    pq.write_table(made, sink, compression="zstd", write_page_checksum=True)
    return blobs.update(name, sink.getvalue())


def read_table(blobs: Blobs, name: str) -> pa.Table:
    """Return the table in the blob `name`, or raise MissingArtifact."""
    data = blobs.get(name)
    if data is None:
        raise MissingArtifact(f"there is no table {name} in {blobs.uri}; run its sweep")
    return pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
