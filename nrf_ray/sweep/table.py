"""What a table of results is: columns that say what they hold, and rows that are filled from committed stages.

A row is put together from facts (what was asked for) and measurements (metrics of committed stages). Tables are
rebuilt from records, sorted by their key columns and written whole, so the same grid gives the same bytes; times live
in `stages` alone.

A family of tables is one file of `nrf_ray.tables`, or of a user: its tables, how their rows are measured, and functions
that say what is shown of them, each registered by `shows`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from nrf_ray.display.printing import ResultTable
from nrf_ray.errors import Registry
from nrf_ray.graph.stage import Metrics, Stage

if TYPE_CHECKING:
    import pandas as pd

ColumnType = Literal["string", "float64", "int64", "bool", "int64s"]
Role = Literal["axis", "measured", "provenance"]
"""axis: it says what a row is about; measured: a stage measured it, or it follows from that; provenance: the key of the
stage behind the row, which is another wherever anything is."""


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    type: ColumnType
    description: str
    unit: str = ""
    """Empty for names and keys."""
    role: Role = "axis"
    """Rows of two tables are the same row where their axes agree. A name has one role in all tables."""
    of_n: bool = True
    """Of a share: it is over the `n` of its row; False for shares of other examples, or of no examples."""


def measured(name: str, type: ColumnType, description: str, unit: str = "", *, of_n: bool = True) -> Column:
    """Return a column that a stage measures, or that follows from one; for `of_n` see `Column`."""
    return Column(name, type, description, unit, role="measured", of_n=of_n)


def key_of(stage: str) -> Column:
    """Return the column that names the stage behind a row by its key; `stage` says in words which one it is."""
    return Column("key", "string", f"key of the {stage}", role="provenance")


@dataclass(frozen=True)
class Table:
    """A table by its name, what one row is, and its columns; rows are sorted by all columns in order."""

    name: str
    row: str
    columns: tuple[Column, ...]

    def column_names(self) -> list[str]:
        """Return the names of the columns, in order."""
        return [column.name for column in self.columns]


class Measure(NamedTuple):
    """One number of a row: a metric of a stage."""

    stage: Stage
    metric: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row to be filled when all of its stages are committed."""

    table: Table
    facts: Mapping[str, Any]
    """Columns known before anything runs."""
    measures: Mapping[str, Measure]
    """Columns measured by stages."""
    derive: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda values: {}
    """Further columns from the ones above, as an interval from a share and n."""

    def stages(self) -> list[Stage]:
        """Return the stages that have to be committed."""
        return [measure.stage for measure in self.measures.values()]

    def fill(self, metrics: Callable[[Stage], Metrics]) -> dict[str, Any]:
        """Return the row's values by column name."""
        values = {**self.facts, **{name: metrics(m.stage)[m.metric] for name, m in self.measures.items()}}
        return {**values, **self.derive(values)}


Frames = Mapping[str, "pd.DataFrame"]
"""Tables by name."""

Show = Callable[[str, Frames], Iterable[ResultTable]]
"""From the name of a dataset, and the tables with its rows alone, to what is shown of them."""


@dataclass(frozen=True, kw_only=True)
class RegisteredTable:
    """A registered table."""

    table: Table
    show: Show
    """What is shown of it; called where it has rows."""
    by_dataset: bool
    """Whether it is shown for each dataset apart; else `show` gets an empty name and the rows of all."""


TABLES: Registry[RegisteredTable] = Registry("table")
"""Every table of results that is registered, by name."""


def shows(table: Table, *, by_dataset: bool = True) -> Callable[[Show], Show]:
    """Register `table` with the decorated function; raise ConfigError where another table has its name."""

    def register(show: Show) -> Show:
        TABLES.register(table.name)(RegisteredTable(table=table, show=show, by_dataset=by_dataset))
        return show

    return register
