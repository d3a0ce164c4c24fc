"""Result tables as data (names and numbers), and their printed form.

The page uses the same data, so page and terminal cannot differ.
"""

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TextIO, cast

from rich.console import Console
from rich.table import Table as Grille

from nrf_ray.display.output import Steady, show_every_letter

if TYPE_CHECKING:
    import pandas as pd

FILE_WIDTH = 180
"""Width in characters if the output is not a terminal, so that tables in a log are not cut."""


class Estimate(NamedTuple):
    """Number that is shown with its interval."""

    value: float
    ends: tuple[float, float] | None
    """Lower and upper end of the interval; None without one."""
    text: str = ""
    """Printed text."""


SetKind = Literal["original", "constructed", "control"]
"""Kind of a training set: the original data, a constructed set, or a leakage-only control."""


class SetName(NamedTuple):
    """Name of the training set that a row is about."""

    text: str
    """Printed text."""
    kind: SetKind
    """Kind of the set, which sets the mark of the row in a chart."""


Cell = str | Estimate | SetName
"""Entry of a printed table."""


@dataclass(frozen=True, kw_only=True)
class ResultTable:
    """Table of names and numbers, with notes on the numbers."""

    title: str
    columns: tuple[str, ...]
    names: int
    """Number of columns, from the first, that are names; the others are numbers."""
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...]
    """Explanations of the numbers."""
    failure: str = ""
    """Violation of a property that must hold; empty if there is none."""

    @property
    def texts(self) -> list[tuple[str, ...]]:
        """The rows as they are printed."""
        return [tuple(cell_text(cell) for cell in row) for row in self.rows]


def cell_text(cell: Cell) -> str:
    """Return the printed text of a table entry."""
    return cell if isinstance(cell, str) else cell.text


def share_text(value: float) -> str:
    """Return a share with three decimals and no leading zero, as papers print it; from 1 on, with two decimals."""
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if abs(float(text)) < 1 else f"{value:.2f}"


def interval_text(low: float, high: float) -> str:
    """Return an interval of shares in brackets, or an empty text if it is missing (NaN)."""
    return "" if math.isnan(low) else f"[{share_text(low)}, {share_text(high)}]"


def share(value: float, low: float = math.nan, high: float = math.nan) -> Estimate:
    """Return a share as a table entry, with the ends of the interval that another column prints."""
    return Estimate(value, None if math.isnan(low) else (low, high), share_text(value))


def mean(values: "pd.Series[float]") -> Cell:
    """Return mean and 95% t interval over `values` (one per seed) as a table entry.

    A single value has no interval. If a value is missing, the entry is empty.
    """
    from nrf_ray.statistics import t_interval

    if values.isna().any():
        return ""
    interval = t_interval(values)
    if interval.n < 2:
        return share(interval.estimate)
    text = f"{share_text(interval.estimate)} ± {share_text(interval.high - interval.estimate)}"
    return Estimate(interval.estimate, (interval.low, interval.high), text)


def over_seeds(rows: "pd.DataFrame", *columns: str) -> list[Cell]:
    """Return, for each of `columns`, the mean over architectures and then over seeds, as `mean` does."""
    from nrf_ray.statistics import seed_means

    return [mean(seed_means(rows, column)) for column in columns]


def make_console(file: TextIO | None = None, *, steady: bool = False) -> Console:
    """Return a console on `file` (stdout without one): as wide as the terminal, or `FILE_WIDTH` for a file or pipe.

    Square brackets are text, because names of datasets contain them. A character that the file's encoding lacks is
    written as an escape. A `steady` console does not fail if its file is gone (a closed pipe, a full disk): its output
    is lost.
    """
    out = file or sys.stdout
    show_every_letter(out)
    shown = cast(TextIO, Steady(out)) if steady else out
    return Console(file=shown, width=None if out.isatty() else FILE_WIDTH, highlight=False, markup=False)


def make_grille(title: str, *columns: str, names: int) -> Grille:
    """Return an empty table whose first `names` columns are names and whose others are numbers."""
    grille = Grille(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        grille.add_column(column, justify="left" if index < names else "right", overflow="fold")
    return grille


def explain(console: Console, text: str) -> None:
    """Print the explanation of a table's numbers; square brackets are text, not markup."""
    console.print(f"{text}\n", style="dim", markup=False)


def print_results(console: Console, tables: Iterable[ResultTable]) -> None:
    """Print tables, each with its notes and its failure."""
    for table in tables:
        grille = make_grille(table.title, *table.columns, names=table.names)
        for row in table.texts:
            grille.add_row(*row)
        console.print(grille)
        for note in table.notes:
            explain(console, note)
        if table.failure:
            console.print(table.failure, style="bold red")


def size_text(size: int) -> str:
    """Return a number of bytes as people read it: 0 B, 812 B, 3.4 MiB, 120 GiB."""
    value, units = float(size), ("B", "KiB", "MiB", "GiB", "TiB")
    for unit in units:
        if round(value) < 1024 or unit == units[-1]:
            break
        value /= 1024
    return f"{value:.1f} {unit}" if unit != "B" and value < 99.95 else f"{value:.0f} {unit}"


def span(seconds: float) -> str:
    """Return a duration with the precision that people need: 0.4 s, 12 s, 4 min 5 s, 3 h 20 min, 2 d 4 h."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, large, small in ((86_400, "d", "h"), (3600, "h", "min"), (60, "min", "s")):
        if whole >= size:
            rest = whole % size // {"d": 3600, "h": 60, "min": 1}[large]
            return f"{whole // size} {large}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"
