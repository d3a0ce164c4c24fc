"""Run stages on the cluster that this process is connected to: one Tuner, one trial per stage."""

from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.exceptions import OutOfMemoryError
from rich.console import Console

from nrf_ray.cluster.capacity import Capacity
from nrf_ray.cluster.curves import curves_folder, curves_line
from nrf_ray.cluster.experiment import Experiment
from nrf_ray.cluster.hooks import Schedule, StartWatch
from nrf_ray.cluster.live import LiveView
from nrf_ray.cluster.metrics import stage_metrics
from nrf_ray.cluster.names import renamed
from nrf_ray.cluster.reports import Channel, collecting
from nrf_ray.cluster.run import Outcome, Watch
from nrf_ray.cluster.search import StageSearcher
from nrf_ray.cluster.shards import trial_request
from nrf_ray.cluster.trial import Job, StageTrial
from nrf_ray.errors import ClusterError
from nrf_ray.graph.frontier import Frontier
from nrf_ray.graph.lease import Leases
from nrf_ray.graph.plan import Plan
from nrf_ray.graph.stage import Resources, workers_of
from nrf_ray.graph.store import Store
from nrf_ray.sweep.stage_facts import facts_of_stages
from nrf_ray.sweep.sweep import Sweep


def run_stages(sweep: Sweep, plan: Plan, store: Store, *, log: Path, console: Console, watch: Watch) -> Outcome:
    """Run all stages of `plan` that are not committed; return the outcome. Raises ClusterError as `run_sweep`."""
    todo = plan.todo()
    with Leases(store) as leases:
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
            channel=Channel(),
        )
        facts = facts_of_stages(sweep)
        searcher = StageSearcher(Frontier(todo, plan.cost), store, leases, capacity, job.crashes, facts)
        experiment = Experiment(store.blobs, f"{sweep.folder()}/tune", partial(console.print, soft_wrap=True))
        try:
            with (
                experiment,  # written last: a run that is stopped may have only seconds left
                stage_metrics(sweep.name, plan, searcher.frontier),
                collecting(job.channel, lambda: searcher.live.copy(), searcher.reports),
                LiveView(console, sweep, searcher, _free) as view,
                watch(searcher),
            ):
                _tuner(sweep.name, searcher, job, log.parent / "tune", experiment).fit()
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


def _tuner(name: str, searcher: StageSearcher, job: Job, folder: Path, experiment: Experiment) -> tune.Tuner:
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
            callbacks=[StartWatch(searcher), experiment],
        ),
    )


def _request(config: dict[str, Any]) -> tune.PlacementGroupFactory:
    """Return what a trial reserves, from its config alone: Tune unpickles this function again for every trial."""
    return trial_request(Resources(cpus=config["cpus"], gpus=config["gpus"]), config["actors"])


def _free() -> str:
    free = ray.available_resources()
    return f"{free.get('CPU', 0):g} CPUs, {free.get('GPU', 0):g} GPUs"
