"""Construct the shards of one set on a pool of Ray Data actors.

The pipeline is only a list of shard indices and a pool of actors. Each actor loads the source model once, writes every
shard that it makes into the store itself, and returns the index. No read, repartition or write task needs a CPU beside
the pool, and the pool runs in the trial's own bundles, so a stage never waits for resources that it holds itself.

A pool that loses a node would wait for its bundles to come back, for ever if the cluster has no room for them any more.
So the trial gives up; it is started again with a pool that fits, and finished shards are not made again.
"""

import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import Any, TypeVar

import ray
from ray.tune import PlacementGroupFactory
from ray.util.placement_group import PlacementGroup, get_current_placement_group, placement_group_table
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from nrf_ray.cluster.crash import crash_trace
from nrf_ray.cluster.names import renamed
from nrf_ray.errors import CorruptArtifact, MissingArtifact, StagesFailed
from nrf_ray.graph import headway
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.execute import ShardWorker, summary_of
from nrf_ray.graph.stage import Resources, Stage

T = TypeVar("T")
Batch = dict[str, Any]
"""Columns of a batch in Ray Data: lists or arrays."""

WATCH_SECONDS = 2.0
MAX_ACTOR_RETRIES = 2
"""Restarts of a pool's actor, and of the shard that it was making, after a crash; Ray Data itself sets no limit."""


class PoolBroken(Exception):
    """A pool lost a node, or a training lost a worker; the stage has to be started again."""


class ShardRaised(Exception):
    """A shard or a worker raised in another process: the error in one line, and its traceback there."""

    def __init__(self, summary: str, trace: str) -> None:
        super().__init__(summary)
        self.summary, self.trace = summary, trace

    def __reduce__(self) -> tuple[type["ShardRaised"], tuple[str, str]]:
        return type(self), (self.summary, self.trace)


def trial_request(resources: Resources, actors: int) -> PlacementGroupFactory:
    """Return what a trial reserves: its own resources or, with `actors`, a bundle for each actor and 1 MiB itself."""
    own = {"CPU": resources.cpus, "GPU": resources.gpus}
    bundle = {name: amount for name, amount in own.items() if amount}
    if not actors:
        return PlacementGroupFactory([bundle])
    return PlacementGroupFactory([{"memory": 2**20}, *[dict(bundle) for _ in range(actors)]], strategy="PACK")


def map_on_actors(
    make_worker: Callable[[], ShardWorker], shards: Sequence[int], *, stage: Stage, actors: int, crashes: str | None
) -> None:
    """Make all `shards` of `stage` on `actors` actors, each with its resources from the trial's placement group.

    Raises MissingArtifact if a shard found its inputs damaged or missing, ShardRaised if it raised anything else, and
    PoolBroken if a node of the pool was lost.
    """
    if not shards:
        return
    group = get_current_placement_group()
    context = ray.data.DataContext.get_current()
    context.scheduling_strategy = PlacementGroupSchedulingStrategy(group, placement_group_capture_child_tasks=True)
    context.enable_progress_bars = False
    pool = ray.data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards)).map_batches(
        renamed(_ShardActor, stage.title),
        fn_constructor_args=(make_worker, stage.key, crashes),
        batch_size=1,
        num_cpus=stage.resources.cpus,
        num_gpus=stage.resources.gpus or None,
        compute=ray.data.ActorPoolStrategy(size=min(actors, len(shards))),
        max_restarts=MAX_ACTOR_RETRIES,
        max_task_retries=MAX_ACTOR_RETRIES,
    )
    with headway.loop(len(shards), "shards") as steps:
        missing = set(shards) - _unless_broken(lambda: _made(pool, steps), group)
    if missing:
        raise StagesFailed(f"Ray Data returned without shards {sorted(missing)}; run the same command again")


def _made(pool: ray.data.Dataset, steps: headway.Loop) -> set[int]:
    """Run the pool and return the shards that it made, each a step; the first shard that raises ends it."""
    made = set()
    for row in pool.iter_rows():
        if row["bad_input"]:
            raise MissingArtifact(row["error"])
        if row["error"]:
            raise ShardRaised(row["error"], row["trace"])
        made.add(int(row["shard"]))
        steps.advance()
    return made


def _unless_broken(work: Callable[[], T], group: PlacementGroup) -> T:
    """Return what `work` returns or raise what it raises; raise PoolBroken if `group` loses bundles first."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except Exception as error:
            done.set_exception(error)

    # A broken pool never returns; its thread ends with the process.
    threading.Thread(target=run, daemon=True).start()
    while not wait([done], timeout=WATCH_SECONDS).done:
        if placement_group_table(group)["state"] == "RESCHEDULING":
            raise PoolBroken("a node on which shards were made was lost")
    return done.result()


class _ShardActor:
    """Ray Data's actor around a shard worker: takes a batch of one shard index, returns it with the error, if any.

    An exception that left this class would reach the trial without its traceback, and wrapped in other exceptions.
    """

    def __init__(self, make_worker: Callable[[], ShardWorker], key: Key, crashes: str | None) -> None:
        self._make_worker = make_worker
        self._worker: ShardWorker | None = None
        self._key, self._crashes = key, crashes

    def __call__(self, batch: Batch) -> Batch:
        (shard,) = batch["shard"]
        error, trace, bad_input = "", "", False
        try:
            with crash_trace(self._crashes, self._key, part=f"-shard-{shard}"):
                self._worker = self._worker or self._make_worker()
                self._worker(int(shard))
        except Exception as raised:
            error, trace = summary_of(raised), traceback.format_exc()
            bad_input = isinstance(raised, CorruptArtifact | MissingArtifact)
        return {"shard": [shard], "error": [error], "trace": [trace], "bad_input": [bad_input]}
