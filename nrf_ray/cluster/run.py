"""Run what a sweep still needs: one Tuner, one trial a stage."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import ray
from ray import tune
from rich.console import Console

from nrf_ray.cluster.live import LiveView
from nrf_ray.cluster.search import NoChoice, StageSearcher, StartWatch
from nrf_ray.cluster.session import Cluster, connect
from nrf_ray.cluster.shards import trial_request
from nrf_ray.cluster.trial import Job, StageTrial
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.frontier import Frontier
from nrf_ray.graph.lease import Leases
from nrf_ray.graph.plan import Plan
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import Store, place_of
from nrf_ray.sweep import Sweep

MAX_RETRIES = 2
"""How often Tune starts a stage again whose process or node was lost."""
STOP_SECONDS = 4.0
"""An interrupted run ends within this time, by force if Ray does not let go."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run went."""

    frontier: Frontier
    work_seconds: float
    """Sum over the stages that ran of the time of their work, each on one slot."""
    slots: int
    """Stages that could run at once."""

    def overhead(self, wall_seconds: float) -> float:
        """Return the share of the slots' time in which no stage worked: start-up, orchestration, the tail."""
        return 1.0 - self.work_seconds / (wall_seconds * self.slots)


def run_sweep(sweep: Sweep, plan: Plan, store: Store, *, address: str | None, log: Path, console: Console) -> Outcome:
    """Run all stages of `plan` that are not committed; return how far each got.

    Raises ClusterError before anything runs where the cluster cannot be reached or can never meet a request.
    """
    todo = plan.todo()
    with connect(address) as cluster, _stop_in_time(), Leases(store) as leases:
        if cluster.dashboard:
            console.print(f"dashboard http://{cluster.dashboard}")
        for request in {stage.resources for stage in todo}:
            cluster.check_can_meet(request)
        actors = {stage.key: count for stage in todo if (count := _actors(stage, cluster))}
        searcher = StageSearcher(Frontier(todo), store, leases, wide=set(actors))
        slots = max(cluster.slots(stage.resources) for stage in todo)
        stages = {stage.key: stage for stage in sweep.stages()}
        curves = store.path_of(f"{sweep.folder()}/tensorboard") if store.blobs.root else None
        job = Job(store_uri=_absolute(store), stages=stages, actors=actors, curves=curves)
        with LiveView(console, sweep, searcher, slots, _free):
            _tuner(sweep.name, searcher, job, slots, log.parent / "tune").fit()
    work = sum(record.seconds for stage in todo if (record := store.record(place_of(stage))))
    return Outcome(frontier=searcher.frontier, work_seconds=work, slots=slots)


def _tuner(name: str, searcher: StageSearcher, job: Job, slots: int, folder: Path) -> tune.Tuner:
    def request(config: dict[str, str]) -> tune.PlacementGroupFactory:
        key = Key(config["key"])
        return trial_request(job.stages[key].resources, job.actors.get(key, 0))

    return tune.Tuner(
        tune.with_resources(tune.with_parameters(StageTrial, job=job), request),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=NoChoice(),
            num_samples=-1,
            max_concurrent_trials=slots + max(2, slots // 4),
            reuse_actors=True,
            trial_name_creator=lambda trial: str(trial.config["label"]),
            trial_dirname_creator=lambda trial: f"{trial.config['key'][:16]}-{trial.trial_id}",
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(folder.absolute()),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=MAX_RETRIES),
            callbacks=[StartWatch(searcher)],
        ),
    )


def _actors(stage: Stage, cluster: Cluster) -> int:
    """Return how many Ray Data actors `stage` gets: none unless it makes more than one shard."""
    shards = getattr(stage.config, "num_shards", 1)
    return min(shards, cluster.slots(stage.resources)) if shards > 1 else 0


def _absolute(store: Store) -> str:
    return str(store.blobs.root) if store.blobs.root else store.uri


def _free() -> str:
    free = ray.available_resources()
    return f"{free.get('CPU', 0):g} CPUs, {free.get('GPU', 0):g} GPUs"


@contextmanager
def _stop_in_time() -> Iterator[None]:
    """Turn SIGTERM into what Ctrl-C does, and see to it that an interrupted process ends soon."""

    def terminate(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt:
        # Ray's processes die with this one, so leaving by force loses nothing: what is committed stays.
        timer = threading.Timer(STOP_SECONDS, os._exit, args=(130,))
        timer.daemon = True
        timer.start()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
