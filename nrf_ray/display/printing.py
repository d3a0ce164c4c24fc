"""Tables as people see them: names and numbers as data, and how a terminal prints them.

The page takes the same data, so page and terminal cannot differ.
"""

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TextIO, cast

from rich.console import Console
from rich.table import Table as Grille

from nrf_ray.display.output import Steady, show_every_letter

if TYPE_CHECKING:
    import pandas as pd

FILE_WIDTH = 180
"""Columns where the output is no terminal: tables in a log should not be cut to the width of nobody's window."""


class Estimate(NamedTuple):
    """A number that is shown with its interval."""

    value: float
    ends: tuple[float, float] | None
    """Of its interval, where it has one."""
    text: str = ""
    """What is printed."""


Cell = str | Estimate
"""What stands in one place of a table."""


@dataclass(frozen=True, kw_only=True)
class ResultTable:
    """A table of names and numbers, with what the numbers are."""

    title: str
    columns: tuple[str, ...]
    names: int
    """How many columns, from the first, are names; the others are numbers."""
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...]
    """What the numbers are."""
    failure: str = ""
    """What is wrong, where something that must hold does not."""

    @property
    def texts(self) -> list[tuple[str, ...]]:
        """The rows as they are printed."""
        return [tuple(cell_text(cell) for cell in row) for row in self.rows]


def cell_text(cell: Cell) -> str:
    """Return what is printed of a cell."""
    return cell if isinstance(cell, str) else cell.text


def share_text(value: float) -> str:
    """Return a number of about one with three digits and no leading zero, as tables of the field print it."""
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if abs(float(text)) < 1 else f"{value:.2f}"


def interval_text(low: float, high: float) -> str:
    """Return an interval of shares in brackets; nothing where it is missing."""
    return "" if math.isnan(low) else f"[{share_text(low)}, {share_text(high)}]"


def share(value: float, low: float = math.nan, high: float = math.nan) -> Estimate:
    """Return a share as a cell, with the ends of the interval that another column prints."""
    return Estimate(value, None if math.isnan(low) else (low, high), share_text(value))


def mean(values: "pd.Series[float]") -> Cell:
    """Return mean and 95% t interval over `values` (one per seed) as a cell; a single value stands alone.

    Nothing where a value is missing.
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
    """Return a console on `file` (stdout without one): as wide as the terminal, or `FILE_WIDTH` in a file or pipe.

    Square brackets are text: datasets have them in their names. A letter that the file's encoding lacks is written as
    its number. A `steady` console goes on when its file is gone (a closed pipe, a full disk): what it prints is lost.
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
    """Print what the numbers of a grille are; square brackets are text, not markup."""
    console.print(f"{text}\n", style="dim", markup=False)


def print_results(console: Console, tables: Iterable[ResultTable]) -> None:
    """Print tables, each with what its numbers are and with what is wrong."""
    for table in tables:
        grille = make_grille(table.title, *table.columns, names=table.names)
        for row in table.texts:
            grille.add_row(*row)
        console.print(grille)
        for note in table.notes:
            explain(console, note)
        if table.failure:
            console.print(table.failure, style="bold red")


def span(seconds: float) -> str:
    """Return a time as exact as people care: 0.4 s, 12 s, 4 min 5 s, 3 h 20 min, 2 d 4 h."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, large, small in ((86_400, "d", "h"), (3600, "h", "min"), (60, "min", "s")):
        if whole >= size:
            rest = whole % size // {"d": 3600, "h": 60, "min": 1}[large]
            return f"{whole // size} {large}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"
