"""Run one stage: read its inputs, do the work, commit.

Every worker, wherever it runs, first looks into the store (`finished`), because another run may have committed the
stage in the meantime. Then `work` writes data files as they are made and the record last. `execute` does both.
`run_inline` runs a whole plan in this process, one stage after another, without Ray: for tests, notebooks and
debuggers.
"""

import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from nrf_ray.errors import ConfigError, CorruptArtifact, MissingArtifact
from nrf_ray.graph import checkpoints, headway
from nrf_ray.graph.attempts import note_lost
from nrf_ray.graph.frontier import Frontier
from nrf_ray.graph.plan import make_plan
from nrf_ray.graph.record import FileEntry, Record, record_of
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import Artifact, Leftover, Store, place_of

T = TypeVar("T")

_WORKED: set[int] = set()
"""Processes that have begun a stage: this one, and those that it was forked from."""

Report = Callable[[int, dict[str, float]], None]
"""Function that displays progress: it takes a step (an epoch) and the values measured at it."""

ShardWorker = Callable[[int], None]
"""Function that makes one shard and writes it into the store."""


class MapShards(Protocol):
    """Function that runs `make_worker()` and gives each of `shards` to a worker, in any order, in any processes."""

    def __call__(self, make_worker: Callable[[], ShardWorker], shards: Sequence[int]) -> None:
        """Make all shards, and return when they are in the store."""


def map_here(make_worker: Callable[[], ShardWorker], shards: Sequence[int]) -> None:
    """Make all shards in this process."""
    worker = make_worker()
    for shard in headway.over(shards, "shards"):
        worker(shard)


class Replicate(Protocol):
    """Function that runs `work()` in `workers` processes at once, which form one torch.distributed group."""

    def __call__(self, work: Callable[[], T], workers: int) -> T:
        """Return the result of the first process, when all have returned."""


def replicate_nowhere(work: Callable[[], T], workers: int) -> T:
    """Raise ConfigError: there is only this process."""
    raise ConfigError(f"a stage needs {workers} processes at once, and this is only one; run it as part of a sweep")


@dataclass(frozen=True, kw_only=True)
class Context:
    """Runtime environment passed to a stage function. None of it is part of the artifact's identity."""

    store: Store
    stage: Stage
    map_shards: MapShards = map_here
    replicate: Replicate = replicate_nowhere
    report: Report = lambda step, values: None
    _files: dict[str, FileEntry] = field(default_factory=dict)

    def write(self, name: str, data: bytes) -> None:
        """Write a data file of the artifact."""
        self._files[name] = self.store.write(self.stage, name, data)

    def unfinished(self, name: str) -> Iterator[Leftover]:
        """Yield the data files called `name` of this artifact that are in the store but in no record."""
        return self.store.unfinished(self.stage, name)

    def adopt(self, leftover: Leftover) -> None:
        """Make a file that `unfinished` yielded part of the artifact, unchanged."""
        self._files[leftover.name] = leftover.entry()

    def save_checkpoint(self, step: int, state: bytes) -> None:
        """Save a checkpoint after `step` of long work, delete earlier ones; all are deleted when the stage is done."""
        checkpoints.save(self.store, self.stage, step, state)

    def latest_checkpoint(self) -> bytes | None:
        """Return the last checkpoint that a run of this stage saved, or None."""
        return checkpoints.latest(self.store, self.stage)

    def files(self) -> list[FileEntry]:
        """Return the data files written so far."""
        return list(self._files.values())


def execute(
    stage: Stage,
    store: Store,
    *,
    map_shards: MapShards = map_here,
    replicate: Replicate = replicate_nowhere,
    report: Report = lambda step, values: None,
) -> Record:
    """Return the committed record of `stage`, after doing its work if that has not been done; see `work`."""
    context = Context(store=store, stage=stage, map_shards=map_shards, replicate=replicate, report=report)
    return finished(stage, store) or work(context)


def work(context: Context) -> Record:
    """Do the work of a stage, commit it, and return its record, or another run's if that run committed first.

    Raises CorruptArtifact or MissingArtifact if an input is damaged or missing, and what the stage function raises.
    """
    stage, store = context.stage, context.store
    first = os.getpid() not in _WORKED
    _WORKED.add(os.getpid())
    headway.begin()
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    inputs: dict[str, Artifact] = {name: store.artifact(handle) for name, handle in stage.inputs.items()}
    metrics = stage.kind.body(stage.config, context, **inputs)
    seconds = time.perf_counter() - clock
    record = record_of(stage, context.files(), metrics, seconds, started, first=first)
    won = store.commit(record)
    checkpoints.drop(store, stage)
    return record if won else store.artifact(stage).record


def finished(stage: Stage, store: Store) -> Record | None:
    """Return the record of `stage`, or None if it is missing or damaged. A damaged record goes to the quarantine."""
    try:
        return store.record(place_of(stage))
    except CorruptArtifact:
        return None


def run_inline(goals: list[Stage], store: Store) -> Frontier:
    """Run all stages that `goals` need in this process; return the frontier with the state of each."""
    frontier = Frontier(make_plan(goals, store).todo())
    while (stage := frontier.next_ready()) is not None:
        try:
            execute(stage, store)
        except Exception as error:
            note_lost(store, stage)
            bad_input = isinstance(error, CorruptArtifact | MissingArtifact)
            if bad_input and (rebuild := to_rebuild(stage, store)):
                frontier.reopen(stage.key, rebuild, summary_of(error))
            else:
                store.note_failure(stage, summary_of(error), traceback.format_exc())
                frontier.fail(stage.key, summary_of(error))
        else:
            frontier.done(stage.key)
    return frontier


def to_rebuild(stage: Stage, store: Store) -> list[Stage]:
    """Return the stages to run before `stage` can run, inputs first; empty if all of its inputs are committed."""
    return make_plan([handle for handle in stage.inputs.values() if not store.has(handle)], store).todo()


def summary_of(error: BaseException) -> str:
    """Return an error in one line, for example `ValueError: message`."""
    first = str(error).strip().splitlines()[:1]
    return ": ".join([type(error).__name__, *first])
