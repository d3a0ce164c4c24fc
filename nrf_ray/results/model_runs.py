"""The models of a sweep as runs of an experiment tracker: one run a model, with its axes and its row of every table.

Trackers show a run as a config (what it is), a history (its learning curve) and a summary (what came of it). A stage
would be no run: most stages measure a model, and their numbers belong to that model's run.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nrf_ray.graph.canonical import Key
from nrf_ray.graph.stage import Stage
from nrf_ray.sweep.stage_facts import FACTS, facts_of_stages
from nrf_ray.sweep.sweep import Sweep
from nrf_ray.sweep.table import Table

if TYPE_CHECKING:
    import pandas as pd

AXES = tuple(name for name in FACTS if name != "kind")
"""What a run's config says of its model."""
MODELS = ("train", "import_weights")
"""Kinds of stages whose artifact is a model."""


@dataclass(frozen=True, kw_only=True)
class ModelRun:
    """One model of a sweep."""

    stage: Stage
    """The stage that trains or imports it."""
    axes: Mapping[str, Any]
    """Value of each of AXES; None if the model has none."""
    summary: Mapping[str, float]
    """Its measurements: TABLE/COLUMN, with the values that tell the model's rows of a table apart if it has several, as
    in robustness/robust_accuracy/pgd l2 0.5."""

    @property
    def key(self) -> Key:
        """Key of the model."""
        return self.stage.key


def curve_folder(stage: Stage) -> str:
    """Return the name of the folder of a training's curve in the folder `tensorboard` of its sweep."""
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', stage.title)}-{stage.key[:8]}"


def model_runs(sweep: Sweep, frames: "Mapping[str, pd.DataFrame]") -> list[ModelRun]:
    """Return a run for each model that is in a row of the tables `frames`, in the order of the sweep's stages."""
    tables = {row.table.name: row.table for row in sweep.rows}
    summaries: dict[Key, dict[str, float]] = {}
    for name, table in tables.items():
        if "key" in table.column_names() and name in frames:
            for key, measured in _measurements(table, frames[name].to_dict("records")):
                summaries.setdefault(key, {}).update(measured)
    facts = facts_of_stages(sweep)
    return [
        ModelRun(stage=stage, axes={name: facts[stage.key][name] for name in AXES}, summary=summaries[stage.key])
        for stage in sweep.stages()
        if stage.kind.name in MODELS and stage.key in summaries
    ]


def _measurements(table: Table, rows: Sequence[Mapping[Any, Any]]) -> Iterator[tuple[Key, dict[str, float]]]:
    """Yield the key of the model of each row, and what the row measured, by name."""
    axes = [column.name for column in table.columns if column.role == "axis"]
    by_model: dict[str, list[Mapping[Any, Any]]] = {}
    for row in rows:
        by_model.setdefault(row["key"], []).append(row)
    differ = [name for name in axes if any(len({repr(row[name]) for row in own}) > 1 for own in by_model.values())]
    numbers = [
        column.name for column in table.columns if column.role == "measured" and column.type in ("float64", "int64")
    ]
    for row in rows:
        told = " ".join(f"{row[name]}" for name in differ if _is_known(row[name]))
        yield (
            Key(row["key"]),
            {
                "/".join(filter(None, (table.name, name, told))): float(row[name])
                for name in numbers
                if _is_known(row[name])
            },
        )


def _is_known(value: Any) -> bool:
    """Return whether a table has a value there: None and NaN mean that it has none."""
    return value is not None and value == value
