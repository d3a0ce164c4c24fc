"""What came out so far: the tables of the summary, and the figures that go with them.

The tables are those that a run prints on the terminal, taken from the same code, so page and terminal cannot differ.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table as Grille

from nrf_ray.display.printing import share_text
from nrf_ray.evidence import figure_3, learnt_and_fooled
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.stage import Metrics
from nrf_ray.page.snapshot import Estimate, ResultTable, Scatter, Spot
from nrf_ray.results.parquet import to_arrow
from nrf_ray.results.summary import print_tables
from nrf_ray.sweep import Sweep
from nrf_ray.tables import RESULTS, TRANSFER


def frames_so_far(sweep: Sweep, metrics: Mapping[Key, Metrics]) -> dict[str, pd.DataFrame]:
    """Return the tables of `sweep` with the rows whose stages all have metrics."""
    filled = sweep.filled(metrics)
    return {table.name: to_arrow(table, rows).to_pandas() for table, rows in filled.items() if rows}


def result_tables(frames: Mapping[str, pd.DataFrame]) -> tuple[ResultTable, ...]:
    """Return what the summary prints of `frames`, as data."""
    shelf = _Shelf(width=1000)
    print_tables(shelf, frames)
    return tuple(shelf.tables)


class _Shelf(Console):
    """A console that keeps what is printed on it: grilles, each with the explanations that follow it."""

    def __init__(self, *, width: int) -> None:
        super().__init__(width=width, quiet=True)
        self.tables: list[ResultTable] = []

    def print(self, *objects: Any, **how: Any) -> None:
        """Keep `objects`."""
        for printed in objects:
            if isinstance(printed, Grille):
                self.tables.append(_table_of(printed))
            else:
                last = self.tables[-1]
                self.tables[-1] = replace(last, notes=(*last.notes, str(printed).strip()))


def _table_of(grille: Grille) -> ResultTable:
    columns = [[str(cell) for cell in column.cells] for column in grille.columns]
    return ResultTable(
        title=str(grille.title),
        columns=tuple(str(column.header) for column in grille.columns),
        names=sum(column.justify == "left" for column in grille.columns),
        rows=tuple(zip(*columns, strict=True)),
        notes=(),
    )


def scatters(frames: Mapping[str, pd.DataFrame]) -> tuple[Scatter, ...]:
    """Return, for each dataset and each d_det, how learning from it goes with being fooled at the same radius."""
    if not {RESULTS.name, TRANSFER.name} <= frames.keys():
        return ()
    results, transfer = frames[RESULTS.name], frames[TRANSFER.name]
    found: list[Scatter] = []
    for dataset in sorted(set(results["dataset"])):
        own = transfer[transfer["dataset"] == dataset], results[results["dataset"] == dataset]
        correlations = {(c["d_det"], c["attack"]): c for c in figure_3(*own).to_dict("records")}
        points = learnt_and_fooled(*own).dropna(subset=["learnt", "fooled"])
        for (ball, attack), cells in points.groupby(["d_det", "attack"], sort=False):
            if (cells["radius"] == cells["epsilon"]).all():
                spots = tuple(map(_spot, cells.to_dict("records")))
                note = _note(correlations.get((ball, attack)), len(spots))
                found.append(
                    Scatter(
                        title=f"{dataset}: {attack}",
                        x=f"accuracy of students of d_det {ball}",
                        y="victims fooled",
                        spots=spots,
                        note=note,
                    )
                )
    return tuple(found)


def _spot(point: Mapping[Any, Any]) -> Spot:
    x, y = (
        Estimate(point[name], None if pd.isna(point[f"{name}_low"]) else (point[f"{name}_low"], point[f"{name}_high"]))
        for name in ("learnt", "fooled")
    )
    return Spot(name=point["arch"], x=x, y=y)


def _note(found: Mapping[Any, Any] | None, archs: int) -> str:
    if found is None:
        return f"{archs} architectures: too few, or too much alike, for a correlation."
    low, high = share_text(found["low"]), share_text(found["high"])
    return f"r = {share_text(found['r'])} [{low}, {high}], {archs} architectures, {found['seeds']} seeds."
