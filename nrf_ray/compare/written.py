"""The changes between two runs as a parquet table."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from nrf_ray.compare.rows import TableComparison
from nrf_ray.errors import ConfigError
from nrf_ray.results.parquet import to_arrow
from nrf_ray.sweep.table import Column, Table

CHANGES = Table(
    "changes",
    "one measured number of one cell that is not the same in two stores",
    (
        Column("sweep", "string", "name of the sweep"),
        Column("table", "string", "name of the table"),
        Column("cell", "string", "what the rows are about, but for the seed, as JSON"),
        Column("measure", "string", "which column of the table"),
        Column("first", "float64", "mean over the seeds that are compared, in the first store"),
        Column("second", "float64", "the same in the second store"),
        Column("difference", "float64", "second less first"),
        Column("low", "float64", "lower end of its 95% interval; null where there is none"),
        Column("high", "float64", "upper end of its 95% interval; null where there is none"),
        Column(
            "over",
            "string",
            "what the interval is over: seeds (t, or Welch's where unpaired), rows (Newcombe's, of a share of a "
            "single seed); null where there is none",
        ),
        Column("p", "float64", "of no difference: sign flips, or Welch's t test where unpaired; null for one seed"),
        Column("p_holm", "float64", "p adjusted for every number of the table that was compared"),
        Column("seeds", "int64", "seeds that are compared", "seeds"),
        Column("paired", "bool", "whether both stores have these seeds"),
    ),
)


def write_changes(output: Path, compared: Mapping[str, Sequence[TableComparison]]) -> int:
    """Write all changes, by sweep, to the new file `output`; return how many there are."""
    rows = [
        {
            "sweep": sweep,
            "table": table.name,
            "cell": json.dumps(change.cell, default=str),
            "measure": change.measure,
            "first": change.first,
            "second": change.second,
            "difference": change.difference,
            "low": change.low,
            "high": change.high,
            "over": change.over or None,
            "p": change.p,
            "p_holm": adjusted,
            "seeds": change.seeds,
            "paired": change.paired,
        }
        for sweep, tables in compared.items()
        for table in tables
        for change, adjusted in zip(table.changes, table.adjusted(), strict=True)
    ]
    try:
        with output.open("xb") as file:
            pq.write_table(to_arrow(CHANGES, rows), file, compression="zstd")
    except OSError as error:
        raise ConfigError(f"cannot write {output}: {error.strerror}; choose another place") from error
    return len(rows)
