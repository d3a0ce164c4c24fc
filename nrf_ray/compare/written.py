"""Writer of the changes between two runs as a parquet table."""

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
    "one measured number of one cell that differs between two stores",
    (
        Column("sweep", "string", "name of the sweep"),
        Column("table", "string", "name of the table"),
        Column("cell", "string", "identifying columns of the rows without the seed, as JSON"),
        Column("measure", "string", "name of the measured column of the table"),
        Column("first", "float64", "mean over the compared seeds in the first store"),
        Column("second", "float64", "mean over the compared seeds in the second store"),
        Column("difference", "float64", "second minus first"),
        Column("low", "float64", "lower end of its 95% interval; null if there is none"),
        Column("high", "float64", "upper end of its 95% interval; null if there is none"),
        Column(
            "over",
            "string",
            "variation that the interval covers: seeds (t, or Welch's if unpaired), rows (Newcombe's, for a share of "
            "a single seed); null if there is none",
        ),
        Column(
            "p", "float64", "p value of no difference: sign flips, or Welch's t test if unpaired; null for one seed"
        ),
        Column("p_holm", "float64", "p adjusted (Holm) for all compared numbers of the table"),
        Column("seeds", "int64", "number of compared seeds", "seeds"),
        Column("paired", "bool", "whether both stores have these seeds"),
    ),
)


def write_changes(output: Path, compared: Mapping[str, Sequence[TableComparison]]) -> int:
    """Write all changes, by sweep, to the new file `output`; return their number."""
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
        raise ConfigError(f"cannot write {output}: {error.strerror}; choose another path") from error
    return len(rows)
