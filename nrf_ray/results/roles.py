"""Roles of table columns: measured values, and identifying columns, which say what a row is about.

Comparisons and summaries match rows by the identifying columns. These are all columns that were not measured, except
the key of a stage, which changes with any setting. A name has the same role in every declared table, so the sets here
also serve tables of other versions. They are computed when asked for, so tables that users register count.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nrf_ray.tables.registry import declared_columns

if TYPE_CHECKING:
    import pyarrow as pa

KEY = "key"
"""Column with the key of the stage behind a row."""
SEED = "seed"
"""Column with the seed of the replicate."""
SHARE = "share"
"""Unit of the columns that are summarised."""
ENDS = frozenset(("ci_low", "ci_high"))
"""Ends of the interval of another column, from which they are computed."""


def of_others() -> set[str]:
    """Return the columns that are not shares of their row's `n` examples, but of other examples or of other things."""
    return {column.name for column in declared_columns() if not column.of_n}


def measured_names() -> set[str]:
    """Return the columns with values that a stage measured, or that are computed from such values."""
    return {column.name for column in declared_columns() if column.role == "measured"}


def about(columns: Sequence[str]) -> list[str]:
    """Return the identifying ones of `columns`, in order."""
    measured = measured_names()
    return [name for name in columns if name not in measured and name != KEY]


def measured_columns(columns: Sequence[str]) -> list[str]:
    """Return the measured ones of `columns`, in order."""
    measured = measured_names()
    return [name for name in columns if name in measured]


def shares(table: "pa.Table") -> list[str]:
    """Return the columns of a table with measured shares (by their unit), without the ends of intervals."""
    units = {field.name: (field.metadata or {}).get(b"unit", b"").decode() for field in table.schema}
    return [name for name in measured_columns(table.column_names) if units[name] == SHARE and name not in ENDS]
