"""Train one network on several workers with Ray Train, in the resources that the trial has reserved.

Ray Train makes a placement group of its own, beside the trial's. The trial would then hold nothing that it needs, and
the workers would wait for room behind every other trial, for ever on a busy cluster. So the workers take the trial's
own bundles: Tune counts them, reserves all or none, and there is no deadlock.

A lost worker ends the attempt. The stage is handed out again, like any stage whose process was lost, and resumes from
its last checkpoint in the store; Ray Train's own restarts and checkpoints are not used.
"""

import tempfile
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig, WorkerGroupError, get_context
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.controller.controller import TrainController
from ray.train.v2._internal.execution.worker_group.placement_group_handle import DefaultPlacementGroupHandle
from ray.train.v2._internal.execution.worker_group.worker_group import WorkerGroup
from ray.util.placement_group import get_current_placement_group

from nrf_ray.cluster.shards import PoolBroken, ShardRaised
from nrf_ray.errors import CorruptArtifact, MissingArtifact
from nrf_ray.graph.execute import summary_of
from nrf_ray.graph.stage import Resources

T = TypeVar("T")

TOLD = (ShardRaised, CorruptArtifact, MissingArtifact)
"""Errors of a worker that raised but was not lost."""
COLLATERAL = ("gloo/", "NCCL", "Connection closed by peer", "Connection reset by peer")
"""Texts in the error of a worker whose peer was lost."""


def replicate_on_ray(
    work: Callable[[], T],
    workers: int,
    *,
    resources: Resources,
    reports: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> T:
    """Run `work()` in `workers` processes, each with `resources` from the trial's placement group.

    The first of them works in the context that `reports` makes.

    Returns the result of the first process. Raises CorruptArtifact or MissingArtifact if a worker did, ShardRaised if a
    worker raised anything else, and PoolBroken if a worker was lost.
    """
    request = {name: amount for name, amount in (("CPU", resources.cpus), ("GPU", resources.gpus)) if amount}
    with tempfile.TemporaryDirectory() as folder:
        trainer = _Trainer(
            lambda: _told(work, reports),
            torch_config=TorchConfig(backend="nccl" if resources.gpus else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=workers, use_gpu=resources.gpus > 0, resources_per_worker=request, placement_strategy="PACK"
            ),
            run_config=RunConfig(
                name="replicas",
                storage_path=folder,
                failure_config=FailureConfig(max_failures=0, max_preemption_failures=0),
            ),
        )
        try:
            result: T = trainer.fit().return_value
        except WorkerGroupError as error:
            raise _cause(error) from None
    return result


def _told(work: Callable[[], T], reports: Callable[[], AbstractContextManager[None]]) -> T:
    """Return what `work` returns; raise ShardRaised for its errors, to keep their traceback across processes."""
    try:
        with reports() if get_context().get_world_rank() == 0 else nullcontext():
            return work()
    except (CorruptArtifact, MissingArtifact):
        raise
    except Exception as error:
        raise ShardRaised(summary_of(error), traceback.format_exc()) from None


def _cause(error: WorkerGroupError) -> Exception:
    """Return why the group failed: a worker was lost, or the error of the lowest rank that raised one of its own."""
    failures: dict[int, Exception] = dict(sorted(error.worker_failures.items()))
    told = {rank: failure for rank, failure in failures.items() if isinstance(failure, TOLD)}
    own = [failure for failure in told.values() if not any(sign in str(failure) for sign in COLLATERAL)]
    if len(told) < len(failures) or not own:
        lost = [rank for rank in failures if rank not in told] or list(failures)
        return PoolBroken(f"worker {', '.join(map(str, lost))} of a training was lost")
    return own[0]


class _OwnBundles(DefaultPlacementGroupHandle):  # type: ignore[misc]  # ray has no types
    """Handle of the trial's placement group, which outlives the workers."""

    def shutdown(self) -> None:
        """Do nothing: the group belongs to the trial."""


class _InTrial(WorkerGroup):  # type: ignore[misc]
    """Worker group in the trial's bundles after the first, which is the trial's own."""

    def _create_placement_group(self, scaling_config: Any, worker_group_context: Any) -> _OwnBundles:
        return _OwnBundles(get_current_placement_group())

    def _create_workers(self, num_workers: int, *args: Any, **more: Any) -> Any:
        return super()._create_workers(
            num_workers, *args, **more, placement_group_bundle_indices=list(range(1, num_workers + 1))
        )


class _Controller(TrainController):  # type: ignore[misc]
    worker_group_cls = _InTrial


class _Trainer(TorchTrainer):  # type: ignore[misc]
    """A TorchTrainer whose controller puts its workers into the trial's bundles."""

    def _create_default_callbacks(self) -> list[Any]:
        """Return Ray's own callbacks except two.

        One would remove the placement group at the end. One would start a process for Ray's datasets, of which there
        are none, before the workers start.
        """
        made = super()._create_default_callbacks()
        return [one for one in made if not isinstance(one, PlacementGroupCleanerCallback | DatasetsCallback)]

    def _initialize_and_run_controller(self, **settings: Any) -> Any:
        controller = ray.remote(num_cpus=0)(_Controller).remote(**settings)
        ray.get(controller.run.remote())
        return ray.get(controller.get_result.remote())
