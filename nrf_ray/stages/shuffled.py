"""A set with the labels of each other's images: the control that knows how often each label occurs, and no more."""

from dataclasses import dataclass
from typing import Literal

from nrf_ray.data.catalogue import DatasetRef
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.graph.store import Artifact
from nrf_ray.seeding import derive_seed
from nrf_ray.stages.costs import OVERHEAD, read_seconds, rows_of


@dataclass(frozen=True, kw_only=True)
class ShuffledSpec:
    """One permutation of the labels of a set."""

    dataset: DatasetRef
    """Dataset whose students learn from the set."""
    within: Literal["all", "class"] = "all"
    """Images that exchange labels: all, or only those of one true class; then as many images of class y keep the label
    t, but which of them is random."""
    seed: int
    """Seed of the permutation."""


def _cost(handle: Stage) -> float:
    return OVERHEAD + 2 * read_seconds(handle.config.dataset, rows_of(handle.inputs["data"]))


@stage(version=1, cost=_cost, on_gpu=False)
def shuffled(config: ShuffledSpec, context: Context, *, data: Artifact) -> Metrics:
    """Write the set with its labels permuted; measure the share of images whose label is the same as before."""
    import torch

    from nrf_ray.constructions.perturbed import shuffled_within
    from nrf_ray.constructions.stored_set import constructed_rows, shard_name
    from nrf_ray.data.shards import Shard, write_shard
    from nrf_ray.engine.predict import share
    from nrf_ray.engine.runtime import prepare

    prepare(context.stage.resources)
    rows = constructed_rows(data)
    labels = rows.columns["label"]
    groups = rows.columns["true_label"] if config.within == "class" else torch.zeros_like(labels)
    permuted = labels[shuffled_within(groups, derive_seed(config.seed, "shuffled"))]
    columns = {**rows.columns, "label": permuted}
    context.write(shard_name(0), write_shard(Shard(rows.images, columns, context.stage.key)))
    return {"share_kept": share(permuted == labels) if len(labels) else 1.0, "n": len(labels)}
