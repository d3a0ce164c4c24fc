"""Run what a sweep still needs: one Tuner, one trial a stage."""

from collections.abc import Callable, Mapping
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
    """How a run went."""

    frontier: Frontier
    seconds: Mapping[Key, float]
    """What the work of each stage took that this run did, counted as its cost is: shards one after the other."""
    slots: float
    """Stages that could run at once, on average over the run."""

    @property
    def work_seconds(self) -> float:
        """Sum over the stages that this run did and over the slots that each had; not what others did meanwhile."""
        return sum(seconds * workers_of(self.frontier.stages[key]) for key, seconds in self.seconds.items())

    def overhead(self, wall_seconds: float) -> float:
        """Return the share of the slots' time in which no stage worked: start-up, orchestration, the tail."""
        return 1.0 - self.work_seconds / (wall_seconds * self.slots)


Watch = Callable[[StageSearcher], AbstractContextManager[object]]
"""Makes a context in which somebody looks at what a searcher does."""


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
    """Run all stages of `plan` that are not committed; return how far each got.

    Raises ClusterError before anything runs where the cluster cannot be reached or cannot meet a request, and where a
    node has no memory left.
    """
    todo = plan.todo()
    with connect(address) as dashboard, Leases(store) as leases:
        if dashboard:
            console.print(f"dashboard http://{dashboard}")
        capacity = Capacity()
        for request, workers in {(stage.resources, workers_of(stage)) for stage in todo}:
            capacity.now().check_can_meet(request, workers)
        curves = curves_folder(sweep, store)
        if any(stage.kind.name == "train" for stage in todo):
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
            # Tune knows no such end of a process, and gives up as a whole.
            raise ClusterError(
                "Ray ended processes of this run because the memory of their node was nearly full; what is finished "
                f"stays finished. Free some memory and run the same command again. Who used it is in {log}"
            ) from error
        finally:
            searcher.stopped()
    return Outcome(frontier=searcher.frontier, seconds=searcher.seconds, slots=view.mean_slots)


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
