"""From the records of a sweep to its tables."""

from functools import partial
from typing import Any

import pandas as pd

from nrf_ray.errors import CorruptArtifact
from nrf_ray.graph.attempts import lost_attempts
from nrf_ray.graph.drivers import Heart
from nrf_ray.graph.frontier import Frontier, Progress
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import Store, place_of
from nrf_ray.results.parquet import read_table, to_arrow, write_table
from nrf_ray.sweep import Sweep
from nrf_ray.tables import STAGES, Table


def write_tables(sweep: Sweep, store: Store, frontier: Frontier | None = None) -> dict[str, pd.DataFrame]:
    """Write every table of `sweep` from the records in `store`, with its pictures, and return the tables by name.

    `frontier` is how far the stages of the last run got, where one ran: it knows what failed and what that blocked.
    Whoever collects garbage meanwhile gives way, since half a table looks like garbage.
    """
    with Heart(store.blobs, "run"):
        rows: dict[Table, list[dict[str, Any]]] = {**sweep.collect(store), STAGES: stage_rows(sweep, store, frontier)}
        for name, figure in sweep.pictures(store).items():
            store.blobs.replace(f"{sweep.folder()}/{name}", store.artifact(figure).read(name))
        for table, filled in rows.items():
            write_table(store.blobs, table_name(sweep, table), table, filled, preset=sweep.preset)
    return {table.name: to_arrow(table, filled).to_pandas() for table, filled in rows.items()}


def replaced_keys(sweep: Sweep, store: Store) -> int:
    """Return how many stages the tables in the store tell of that are not in `sweep`: those of a former grid."""
    name = table_name(sweep, STAGES)
    if not store.blobs.exists(name):
        return 0
    try:
        former = set(read_table(store.blobs, name)["key"].to_pylist())
    except (OSError, ValueError):
        return 0  # a damaged table is only written anew: what it told stands in the records
    return len(former - {stage.key for stage in sweep.stages()})


def table_name(sweep: Sweep, table: Table) -> str:
    """Return the blob name of a table of `sweep`."""
    return f"{sweep.folder()}/{table.name}.parquet"


def stage_rows(sweep: Sweep, store: Store, frontier: Frontier | None = None) -> list[dict[str, Any]]:
    """Return the rows of `stages.parquet`: how each stage of `sweep` stands, and what it took."""
    lost, stages = lost_attempts(store), list(sweep.stages())
    return [
        {
            "sweep": sweep.name,
            "stage": stage.kind.name,
            "label": stage.title,
            "key": stage.key,
            **standing,
            "attempts": lost.get(stage.key, 0) + (standing["state"] == "done"),
            "inputs": " ".join(sorted(handle.key for handle in stage.inputs.values())),
        }
        for stage, standing in zip(stages, store.at_once(partial(_standing, store, frontier), stages), strict=True)
    ]


def _standing(store: Store, frontier: Frontier | None, stage: Stage) -> dict[str, Any]:
    took = ("seconds", "started", "device", "threads", "host")
    try:
        record = store.peek(place_of(stage))
    except CorruptArtifact as error:
        return {"state": "damaged", "reason": error.problem, **dict.fromkeys(took)}
    if record is not None:
        return {"state": "done", "reason": None, **{name: record.provenance[name] for name in took}}
    progress = frontier.state.get(stage.key) if frontier else None
    if frontier and progress in (Progress.FAILED, Progress.BLOCKED):
        return {"state": progress.value, "reason": frontier.errors[stage.key], **dict.fromkeys(took)}
    return {"state": "missing", "reason": None, **dict.fromkeys(took)}
