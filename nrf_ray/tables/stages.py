"""The stages of a sweep: how each stands, where it ran and what it took. Nothing of it is shown as a result."""

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
        Column("label", "string", "what people call it"),
        key_of("stage"),
        Column("state", "string", "done, failed, blocked (needs one that failed), damaged or missing"),
        Column("reason", "string", "why it is not done; null where it is"),
        Column("seconds", "float64", "wall time of the work, on one slot", "seconds"),
        Column("started", "string", "when the work began, UTC"),
        Column("device", "string", "cpu or cuda"),
        Column("threads", "int64", "torch threads", "threads"),
        Column("host", "string", "where it ran"),
        Column(
            "attempts",
            "int64",
            "how often it was begun; above 1 where it raised, or its process or run ended",
            "starts",
        ),
        Column("inputs", "string", "keys of the stages that it is made from, by space; empty for none"),
    ),
)


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


@shows(STAGES, by_dataset=False)
def show_stages(dataset: str, frames: Frames) -> Iterator[ResultTable]:
    """Yield nothing: the plan, `nrf status` and the page show stages in their own ways."""
    yield from ()
