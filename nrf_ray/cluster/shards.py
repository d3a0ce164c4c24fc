"""Craft the shards of one set on a pool of Ray Data actors.

The pipeline is a list of shard numbers and a pool of actors, nothing else: each actor loads the source model once,
writes every shard that it makes into the store itself, and returns its number. No read, repartition or write task
needs a CPU beside the pool, and the pool runs in the trial's own bundles, so a build never waits for what it holds.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
from ray.tune import PlacementGroupFactory
from ray.util.placement_group import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from nrf_ray.errors import StagesFailed
from nrf_ray.graph.execute import ShardWorker
from nrf_ray.graph.stage import Resources

Rows = dict[str, npt.NDArray[Any]]


def trial_request(resources: Resources, actors: int) -> PlacementGroupFactory:
    """Return what a trial reserves: its own share, or (with `actors`) a bundle for each actor and next to nothing."""
    own = {"CPU": resources.cpus, "GPU": resources.gpus}
    bundle = {name: amount for name, amount in own.items() if amount}
    if not actors:
        return PlacementGroupFactory([bundle])
    return PlacementGroupFactory([{"memory": 2**20}, *[dict(bundle) for _ in range(actors)]], strategy="PACK")


def map_on_actors(
    make_worker: Callable[[], ShardWorker], shards: Sequence[int], *, resources: Resources, actors: int
) -> None:
    """Make all `shards` on `actors` actors; each holds `resources` out of the trial's placement group."""
    if not shards:
        return
    context = ray.data.DataContext.get_current()
    context.scheduling_strategy = PlacementGroupSchedulingStrategy(
        get_current_placement_group(), placement_group_capture_child_tasks=True
    )
    context.enable_progress_bars = False
    made = (
        ray.data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards))
        .map_batches(
            _ShardActor,
            fn_constructor_args=(make_worker,),
            batch_size=1,
            num_cpus=resources.cpus,
            num_gpus=resources.gpus or None,
            compute=ray.data.ActorPoolStrategy(size=min(actors, len(shards))),
        )
        .take_all()
    )
    missing = set(shards) - {row["shard"] for row in made}
    if missing:
        raise StagesFailed(f"Ray Data returned without shards {sorted(missing)}; run the same command again")


class _ShardActor:
    """Ray Data's view of a shard worker: a batch of one shard number in, the same out."""

    def __init__(self, make_worker: Callable[[], ShardWorker]) -> None:
        self._worker = make_worker()

    def __call__(self, batch: Rows) -> Rows:
        for shard in batch["shard"]:
            self._worker(int(shard))
        return {"shard": np.array(batch["shard"])}
