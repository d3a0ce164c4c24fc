"""Run the missing stages of a sweep: one Tuner, one trial per stage."""

from collections.abc import Callable, Mapping, Set
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.exceptions import OutOfMemoryError
from rich.console import Console

from nrf_ray.cluster.capacity import Capacity
from nrf_ray.cluster.curves import curves_folder, curves_line
from nrf_ray.cluster.hooks import Schedule, StartWatch
from nrf_ray.cluster.live import LiveView
from nrf_ray.cluster.metrics import stage_metrics
from nrf_ray.cluster.names import renamed
from nrf_ray.cluster.search import StageSearcher
from nrf_ray.cluster.session import connect
from nrf_ray.cluster.shards import trial_request
from nrf_ray.cluster.trial import Job, StageTrial
from nrf_ray.errors import ClusterError
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.frontier import Frontier
from nrf_ray.graph.lease import Leases
from nrf_ray.graph.plan import Plan
from nrf_ray.graph.stage import Resources, workers_of
from nrf_ray.graph.store import Store
from nrf_ray.sweep.sweep import Sweep


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of a run: states, times and slots."""

    frontier: Frontier
    seconds: Mapping[Key, float]
    """Seconds of work of each stage that this run did, counted like its cost: shards one after another."""
    slots: float
    """Stages that could run at once, averaged over the run."""
    firsts: Set[Key] = frozenset()
    """Stages in `seconds` that were the first of their process."""
    first_start: float | None = None
    """Time on the monotonic clock at which the first stage had its process; None if no stage ran."""
    last_end: float | None = None
    """Time on the monotonic clock at which the last stage ended; None if no stage ran."""

    @property
    def work_seconds(self) -> float:
        """Seconds of work, summed over the stages that this run did (not other runs) and over the slots of each."""
        return sum(seconds * workers_of(self.frontier.stages[key]) for key, seconds in self.seconds.items())

    def overhead(self, wall_seconds: float) -> float:
        """Return the share of the slots' time in which no stage worked: start-up, orchestration, the end of the run."""
        return 1.0 - self.work_seconds / (wall_seconds * self.slots)


Watch = Callable[[StageSearcher], AbstractContextManager[object]]
"""Function that makes a context in which other code observes a searcher."""


def run_sweep(
    sweep: Sweep,
    plan: Plan,
    store: Store,
    *,
    address: str | None,
    log: Path,
    console: Console,
    watch: Watch = nullcontext,
) -> Outcome:
    """Run all stages of `plan` that are not committed; return the outcome.

    Raises ClusterError before anything runs if the cluster cannot be reached or cannot meet a request, and during the
    run if a node runs out of memory.
    """
    todo = plan.todo()
    with connect(address) as dashboard, Leases(store) as leases:
        if dashboard:
            console.print(f"dashboard http://{dashboard}")
        capacity = Capacity()
        for request, workers in {(stage.resources, workers_of(stage)) for stage in todo}:
            capacity.now().check_can_meet(request, workers)
        curves = None
        if any(stage.kind.name == "train" for stage in todo):
            curves = curves_folder(sweep, store)
            console.print(curves_line(curves), soft_wrap=True, markup=False)
        shared = store.blobs.root is not None
        job = Job(
            sweep=sweep.name,
            store_uri=str(store.blobs.root) if store.blobs.root else store.uri,
            stages={stage.key: stage for stage in sweep.stages()},
            curves=curves,
            crashes=str((log.parent / "crashes").absolute()) if shared else None,
        )
        searcher = StageSearcher(Frontier(todo, plan.cost), store, leases, capacity, job.crashes)
        try:
            with (
                stage_metrics(sweep.name, plan, searcher.frontier),
                LiveView(console, sweep, searcher, _free) as view,
                watch(searcher),
            ):
                _tuner(sweep.name, searcher, job, log.parent / "tune").fit()
        except RuntimeError as error:
            if not isinstance(error.__cause__, OutOfMemoryError):
                raise
            # Tune does not expect this end of a process, and stops the whole run.
            raise ClusterError(
                "Ray ended processes of this run because the memory of their node was nearly full; finished stages are "
                f"kept. Free some memory and run the same command again. The processes that used it are in {log}"
            ) from error
        finally:
            searcher.stopped()
    return Outcome(
        frontier=searcher.frontier,
        seconds=searcher.seconds,
        slots=view.mean_slots,
        firsts=searcher.firsts,
        first_start=searcher.first_start,
        last_end=searcher.last_end,
    )


def _tuner(name: str, searcher: StageSearcher, job: Job, folder: Path) -> tune.Tuner:
    trainable = tune.with_resources(tune.with_parameters(StageTrial, job=job), _request)
    return tune.Tuner(
        renamed(trainable, f"stages of {name}"),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=Schedule(searcher),
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=lambda trial: str(trial.config["label"]),
            trial_dirname_creator=lambda trial: f"{trial.config['key'][:16]}-{trial.trial_id}",
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(folder.absolute()),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=0),
            callbacks=[StartWatch(searcher)],
        ),
    )


def _request(config: dict[str, Any]) -> tune.PlacementGroupFactory:
    """Return what a trial reserves, from its config alone: Tune unpickles this function again for every trial."""
    return trial_request(Resources(cpus=config["cpus"], gpus=config["gpus"]), config["actors"])


def _free() -> str:
    free = ray.available_resources()
    return f"{free.get('CPU', 0):g} CPUs, {free.get('GPU', 0):g} GPUs"
