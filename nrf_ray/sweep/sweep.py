"""Sweep: the table rows to fill, and so the stages that have to run.

A sweep file has a function from a grid to a `Sweep`. Building a `Sweep` runs nothing and needs neither torch nor ray.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from nrf_ray.data.catalogue import DatasetInfo, dataset_named
from nrf_ray.errors import ConfigError
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.stage import Metrics, Resources, Stage, walk
from nrf_ray.graph.store import Store, place_of
from nrf_ray.sweep.grid import Grid
from nrf_ray.sweep.table import Row, Table

NAMED = "@"
"""Sign between the name of a sweep and the name that the user gave to a run of it, as in transfer_grid@wide."""


@dataclass(frozen=True)
class Sweep:
    """Named list of rows."""

    name: str
    """Name of the sweep, or of the run if the user named it: SWEEP@NAME."""
    rows: tuple[Row, ...]
    figures: tuple[Stage, ...] = ()
    """Stages whose pictures (.svg) are copied to the folder of the tables, under their own names."""
    preset: str = ""
    """Name of the preset of the grid, stored in the tables' files; empty if there is none."""
    note: str = ""
    """Note for the user on how flags changed the preset; empty if they did not."""

    @cached_property
    def goals(self) -> list[Stage]:
        """Stages that the rows need and stages that draw, each once, in the order of the rows."""
        found: dict[Key, Stage] = {stage.key: stage for row in self.rows for stage in row.stages()}
        return list((found | {figure.key: figure for figure in self.figures}).values())

    def stages(self) -> Iterator[Stage]:
        """Yield every stage of the sweep, inputs first."""
        return walk(self.goals)

    def on(self, resources: Resources) -> "Sweep":
        """Return the same sweep with another resource request for every stage; the keys do not change.

        Stages of a kind that does not use GPUs request none.
        """
        on_cpus = replace(resources, gpus=0.0)
        moved: dict[Key, Stage] = {}
        for stage in self.stages():
            inputs = {name: moved[handle.key] for name, handle in stage.inputs.items()}
            moved[stage.key] = stage.on(resources if stage.kind.on_gpu else on_cpus, inputs)
        rows = [row.on(lambda stage: moved[stage.key]) for row in self.rows]
        return replace(self, rows=tuple(rows), figures=tuple(moved[figure.key] for figure in self.figures))

    def as_run(self, name: str) -> "Sweep":
        """Return the same sweep as the run called `name`, which keeps its own tables and page; keys do not change.

        Raises ConfigError if `name` cannot be the name of a folder on every file system.
        """
        if not re.fullmatch(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?", name):
            raise ConfigError(
                f"--name {name!r} is not a name for a run; use up to 64 of the characters a-z, 0-9, '-', '_' and '.', "
                "with a letter or a digit at both ends"
            )
        return replace(self, name=f"{self.name}{NAMED}{name}")

    def pictures(self, store: Store) -> dict[str, Stage]:
        """Return the stages with committed pictures, by file name of the picture."""
        records = dict(zip(self.figures, store.at_once(store.record, map(place_of, self.figures)), strict=True))
        files = {figure: record.files if record else () for figure, record in records.items()}
        return {file.name: figure for figure in files for file in files[figure] if file.name.endswith(".svg")}

    def folder(self) -> str:
        """Return the blob prefix of the sweep's tables."""
        return f"sweeps/{self.name}"

    def collect(self, store: Store) -> dict[Table, list[dict[str, object]]]:
        """Return all rows whose stages are committed, by table."""
        records = store.at_once(store.record, map(place_of, self.goals))
        return self.filled({record.key: record.metrics for record in records if record})

    def filled(self, metrics: Mapping[Key, Metrics]) -> dict[Table, list[dict[str, object]]]:
        """Return all rows whose stages have `metrics`, by table."""
        tables: dict[Table, list[dict[str, object]]] = {row.table: [] for row in self.rows}
        for row in self.rows:
            if all(stage.key in metrics for stage in row.stages()):
                tables[row.table].append(row.fill(lambda stage: metrics[stage.key]))
        return tables


def sweep_of(run: str) -> str:
    """Return the name of the sweep that `run`, as in transfer_grid@wide or transfer_grid, is a run of."""
    return run.partition(NAMED)[0]


def over_datasets(name: str, grid: Grid, rows: Callable[[Grid, DatasetInfo], Iterable[Row]]) -> Sweep:
    """Return the sweep over trained models that has `rows` for each dataset of `grid`.

    Rows about the same things are one row: a frozen model is the same in every replicate.
    """
    found: dict[tuple[str, str], Row] = {}
    for dataset in grid.datasets:
        for row in rows(grid, dataset_named(dataset)):
            found.setdefault((row.table.name, repr(sorted(row.facts.items()))), row)
    return Sweep(name, tuple(found.values()), preset=grid.preset.name, note=grid.preset.note)
