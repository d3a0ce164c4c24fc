"""Tables of results: columns with descriptions, and rows that are filled from committed stages.

A row consists of facts (what was asked for) and measurements (metrics of committed stages). Tables are rebuilt from
records, sorted by their columns in order and written whole, so the same grid gives the same bytes. Only the table
`stages` has times.

A family of tables is one file of `nrf_ray.tables`, or of a user. It declares its tables, builds their rows, and has a
function for each table, registered by `shows`, that returns what is shown of it.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from nrf_ray.display.printing import ResultTable
from nrf_ray.errors import ConfigError, Registry
from nrf_ray.graph.stage import Metrics, Stage

if TYPE_CHECKING:
    import pandas as pd

ColumnType = Literal["string", "float64", "int64", "bool", "int64s"]
Role = Literal["axis", "measured", "provenance"]
"""axis: says what a row is about; measured: a stage measured it, or it follows from measurements; provenance: the key
of the stage behind the row, which differs if anything that the stage depends on differs."""


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    type: ColumnType
    description: str
    unit: str = ""
    """Unit; empty for names and keys."""
    role: Role = "axis"
    """Role: rows of two tables are the same row if their axes agree. A name has one role in all tables."""
    of_n: bool = True
    """Whether a share is of the `n` examples of its row; False for shares of other examples, or of no examples."""


def measured(name: str, type: ColumnType, description: str, unit: str = "", *, of_n: bool = True) -> Column:
    """Return a column that a stage measures, or that follows from measurements; for `of_n` see `Column`."""
    return Column(name, type, description, unit, role="measured", of_n=of_n)


def key_of(stage: str) -> Column:
    """Return the column `key`, the key of the stage behind a row; `stage` describes that stage."""
    return Column("key", "string", f"key of the {stage}", role="provenance")


@dataclass(frozen=True)
class Table:
    """A table: its name, what one row is, and its columns. Rows are sorted by all columns in order."""

    name: str
    row: str
    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        if not re.fullmatch("[a-z][a-z0-9_]*", self.name):
            raise ConfigError(f"a table cannot be called {self.name!r}; use lower-case letters, digits and _")
        names = self.column_names()
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ConfigError(f"the table {self.name} has two columns called {twice!r}; give one another name")

    def column_names(self) -> list[str]:
        """Return the names of the columns, in order."""
        return [column.name for column in self.columns]


class Measure(NamedTuple):
    """One number of a row: a metric of a stage."""

    stage: Stage
    metric: str
    later: bool = False
    """Whether records of former versions lack it: then it is null."""

    def of(self, metrics: Metrics) -> Any:
        """Return the number among the metrics of the stage."""
        return metrics.get(self.metric) if self.later else metrics[self.metric]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row, which is filled when all of its stages are committed."""

    table: Table
    facts: Mapping[str, Any]
    """Columns known before anything runs."""
    measures: Mapping[str, Measure]
    """Columns measured by stages."""
    derive: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda values: {}
    """Function from the columns above, and from `unshown`, to further columns, such as an interval from a share."""
    unshown: Mapping[str, Measure] = field(default_factory=dict)
    """Numbers that only `derive` needs: no column shows them."""

    def stages(self) -> list[Stage]:
        """Return the stages that must be committed before the row is filled."""
        return [measure.stage for measure in (*self.measures.values(), *self.unshown.values())]

    def on(self, moved: Callable[[Stage], Stage]) -> "Row":
        """Return the row with every stage replaced by `moved` of it."""
        measures, unshown = (
            {name: measure._replace(stage=moved(measure.stage)) for name, measure in part.items()}
            for part in (self.measures, self.unshown)
        )
        return replace(self, measures=measures, unshown=unshown)

    def fill(self, metrics: Callable[[Stage], Metrics]) -> dict[str, Any]:
        """Return the row's values by column name."""
        shown, unshown = (
            {name: measure.of(metrics(measure.stage)) for name, measure in part.items()}
            for part in (self.measures, self.unshown)
        )
        values = {**self.facts, **shown}
        return {**values, **self.derive({**unshown, **values})}


Frames = Mapping[str, "pd.DataFrame"]
"""Tables by name."""

Show = Callable[[str, Frames], Iterable[ResultTable]]
"""Function from the name of a dataset, and the tables with its rows only, to the tables shown of them."""

Say = Callable[[str, Frames], Iterable[str]]
"""Function of the same arguments to sentences that say what the tables show, each with its control, n and interval; the
most important first."""


@dataclass(frozen=True, kw_only=True)
class RegisteredTable:
    """A registered table, and how it is shown."""

    table: Table
    show: Show
    """Function that returns what is shown of the table; called if it has rows."""
    by_dataset: bool
    """Whether each dataset is shown separately; otherwise `show` gets an empty name and the rows of all datasets."""
    say: Say | None = None
    """Function that says what the table shows, called as `show` is; None if it says nothing."""


TABLES: Registry[RegisteredTable] = Registry("table")
"""Every registered table of results, by name."""


def shows(table: Table, *, by_dataset: bool = True, say: Say | None = None) -> Callable[[Show], Show]:
    """Register `table` with the decorated function, and with the function that says what it shows.

    Raises ConfigError if another table has its name, or a column of the same name with another role.
    """

    def register(show: Show) -> Show:
        _check_roles(table)
        TABLES.register(table.name)(RegisteredTable(table=table, show=show, by_dataset=by_dataset, say=say))
        return show

    return register


def _check_roles(table: Table) -> None:
    """Raise ConfigError if a column of `table` has another role in a registered table: rows would not be matched."""
    for other in TABLES.values():
        roles = {column.name: column.role for column in other.table.columns}
        for column in table.columns:
            if roles.get(column.name, column.role) != column.role:
                raise ConfigError(
                    f"the column {column.name!r} is {column.role} in the table {table.name} and {roles[column.name]} "
                    f"in {other.table.name}; give it the same role or another name"
                )
