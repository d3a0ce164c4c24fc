"""Which columns of a table were measured, and which say what a row is about.

Two tables are compared, and one is summed up, by what their rows are about; that is all that was not measured, except
for the key of a stage, which is another wherever anything is. A name has one role in every table that is declared, so
these serve tables of other versions too.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nrf_ray.tables.registry import declared_columns

if TYPE_CHECKING:
    import pyarrow as pa

KEY = "key"
"""The column with the key of the stage behind a row."""
SEED = "seed"
"""The column with the seed of the replicate."""
SHARE = "share"
"""The unit of what is summed up."""
ENDS = frozenset(("ci_low", "ci_high"))
"""Ends of the interval of another column: they follow from it."""
OF_OTHERS = frozenset(column.name for column in declared_columns() if not column.of_n)
"""Shares of other examples than the `n` of their row, or of something else than examples."""

MEASURED = frozenset(column.name for column in declared_columns() if column.role == "measured")
"""Columns that hold what a stage measured, or what follows from it."""


def about(columns: Sequence[str]) -> list[str]:
    """Return those of `columns` that say what a row is about, in order."""
    return [name for name in columns if name not in MEASURED and name != KEY]


def measured(columns: Sequence[str]) -> list[str]:
    """Return those of `columns` that were measured, in order."""
    return [name for name in columns if name in MEASURED]


def shares(table: "pa.Table") -> list[str]:
    """Return the columns of a table that hold measured shares, by their unit; without the ends of intervals."""
    units = {field.name: (field.metadata or {}).get(b"unit", b"").decode() for field in table.schema}
    return [name for name in measured(table.column_names) if units[name] == SHARE and name not in ENDS]
