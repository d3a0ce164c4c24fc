"""Stages of a sweep: the state of each, where it ran and how long it took. None of this is shown as a result."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from nrf_ray.display.printing import ResultTable
from nrf_ray.errors import CorruptArtifact
from nrf_ray.graph.attempts import lost_attempts
from nrf_ray.graph.frontier import Frontier, Progress
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import Store, place_of
from nrf_ray.sweep.sweep import Sweep
from nrf_ray.sweep.table import Column, Frames, Table, key_of, shows

STAGES = Table(
    "stages",
    "one stage of the sweep",
    (
        Column("sweep", "string", "name of the sweep"),
        Column("stage", "string", "kind of the stage"),
        Column("label", "string", "readable title of the stage"),
        key_of("stage"),
        Column("state", "string", "done, failed, blocked (needs a failed stage), damaged or missing"),
        Column("reason", "string", "why it is not done; null if it is done or missing"),
        Column("seconds", "float64", "wall time of the work, on one slot", "seconds"),
        Column("started", "string", "when the work began, UTC"),
        Column("device", "string", "cpu or cuda"),
        Column("threads", "int64", "torch threads", "threads"),
        Column("host", "string", "machine that it ran on"),
        Column(
            "attempts",
            "int64",
            "how often it was started; above 1 if it raised an error, or its process or run ended",
            "starts",
        ),
        Column("inputs", "string", "keys of its input stages, separated by spaces; empty for none"),
    ),
)


def stage_rows(sweep: Sweep, store: Store, frontier: Frontier | None = None) -> list[dict[str, Any]]:
    """Return the rows of `stages.parquet`: the state of each stage of `sweep`, and the time that it took."""
    lost, stages = lost_attempts(store), list(sweep.stages())
    return [
        {
            "sweep": sweep.name,
            "stage": stage.kind.name,
            "label": stage.title,
            "key": stage.key,
            **state,
            "attempts": lost.get(stage.key, 0) + (state["state"] == "done"),
            "inputs": " ".join(sorted(handle.key for handle in stage.inputs.values())),
        }
        for stage, state in zip(stages, store.at_once(partial(_state, store, frontier), stages), strict=True)
    ]


def _state(store: Store, frontier: Frontier | None, stage: Stage) -> dict[str, Any]:
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


@shows(STAGES, by_dataset=False)
def show_stages(dataset: str, frames: Frames) -> Iterator[ResultTable]:
    """Yield no table: the plan, `nrf status` and the page show stages in their own ways."""
    yield from ()
