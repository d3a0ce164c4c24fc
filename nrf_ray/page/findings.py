"""What came out so far: the tables of the summary, and the figures that go with them.

The tables are those that a run prints on the terminal, taken from the same code, so page and terminal cannot differ.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table as Grille

from nrf_ray.evidence import figure_3
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.stage import Metrics
from nrf_ray.grille import share_text
from nrf_ray.page.snapshot import ResultTable, Scatter, Spot
from nrf_ray.parquet import to_arrow
from nrf_ray.summary import print_tables
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
        own = results[results["dataset"] == dataset]
        found += _scatters_of(dataset, own, transfer[transfer["dataset"] == dataset])
    return tuple(found)


def _scatters_of(dataset: str, results: pd.DataFrame, transfer: pd.DataFrame) -> list[Scatter]:
    found = []
    points = figure_3(transfer, results).to_dict("records")
    known = {(point["d_det"], point["attack"]): point for point in points}
    learnt = results[results["construction"] == "d_det"]
    on_original = transfer[transfer["construction"] == "d"]
    for (norm, epsilon), sets in learnt.groupby(["norm", "epsilon"]):
        x = sets.groupby("student_arch")["clean_accuracy"].mean()
        tried = on_original[(on_original["norm"] == norm) & (on_original["epsilon"] == epsilon)]
        for targeted, cells in tried.groupby("targeted"):
            y = cells.groupby("victim_arch")["success_rate"].mean()
            ball, goal = f"{norm} {epsilon:g}", "targeted" if targeted else "untargeted"
            spots = tuple(Spot(name=str(arch), x=float(x[arch]), y=float(y[arch])) for arch in x.index if arch in y)
            if not spots:
                continue
            found.append(
                Scatter(
                    title=f"{dataset}: {ball}, {goal}",
                    x=f"accuracy of students of d_det {ball}",
                    y="victims fooled",
                    spots=spots,
                    note=_note(known.get((ball, f"{goal} {ball}")), len(spots)),
                )
            )
    return found


def _note(point: Mapping[Any, Any] | None, archs: int) -> str:
    if point is None:
        return f"{archs} architectures: too few, or too much alike, for a correlation."
    low, high = share_text(point["low"]), share_text(point["high"])
    return f"r = {share_text(point['r'])} [{low}, {high}], {archs} architectures, {point['seeds']} seeds."
