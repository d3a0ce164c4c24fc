"""Construct a training set, shard by shard.

A shard is a fixed range of the training set, crafted in fixed batches, so its bytes do not depend on who makes it. A
run that was cut off leaves whole shards behind; the next one makes only those that are missing.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from nrf_ray.data.catalogue import DatasetRef, info_of
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.graph.store import Artifact, Store
from nrf_ray.specs import Attack, construction_named
from nrf_ray.stages.costs import OVERHEAD, attack_seconds

if TYPE_CHECKING:
    from nrf_ray.constructions import Crafted
    from nrf_ray.data.images import LabelledImages
    from nrf_ray.data.shards import Shard


COLUMNS = ("index", "label", "true_label", "seed", "loss", "norm", "moved", "prediction", "prediction_stored")
"""What a shard says of each image, beside the image."""


@dataclass(frozen=True, kw_only=True)
class ConstructSpec:
    """One constructed set."""

    dataset: DatasetRef
    """Its training split is changed."""
    construction: str
    """Name of the construction."""
    attack: Attack
    """Targeted attack on the source; of a control only its threat model counts."""
    seed: int
    """Decides the targets, and the patterns of a control."""
    shard_rows: int = 4096
    """Rows a file."""
    batch_rows: int = 256
    """Rows crafted together."""

    @property
    def num_shards(self) -> int:
        """How many files the set has."""
        return math.ceil(info_of(self.dataset).num_train / self.shard_rows)


def _cost(handle: Stage) -> float:
    config: ConstructSpec = handle.config
    if not construction_named(config.construction).needs_source:
        return 2 * OVERHEAD
    info = info_of(config.dataset)
    return attack_seconds(handle.inputs["source"].config.arch, info, info.num_train, config.attack.steps)


@stage(version=1, cost=_cost)
def construct(config: ConstructSpec, context: Context, *, source: Artifact | None = None) -> Metrics:
    """Write `part-00000.parquet` and so on, one row an image; measure what was done to the images."""
    from nrf_ray.data.shards import concatenate

    del source  # every shard worker opens it itself
    missing = [index for index in range(config.num_shards) if _finished_shard(context, index) is None]
    context.map_shards(partial(CraftShard, context.stage, context.store.uri), missing)
    shards = []
    for index in range(config.num_shards):
        shard, data = _finished_shard(context, index) or _refuse(index)
        context.adopt(shard_name(index), data)
        shards.append(shard)
    return _measure(concatenate(shards))


class CraftShard:
    """Makes shards of one set; loads the source model once. Runs in the trial or in a Ray Data actor."""

    def __init__(self, stage: Stage, store_uri: str) -> None:
        from nrf_ray.constructions import class_patterns, draw_targets
        from nrf_ray.data.load import train_split
        from nrf_ray.stages.runtime import prepare
        from nrf_ray.stages.weights import load_model

        self.device = prepare(stage.resources)
        self.stage, self.config = stage, stage.config
        self.store = Store.open(store_uri, create=False)
        info = info_of(self.config.dataset)
        self.construction = construction_named(self.config.construction)
        self.train = train_split(self.config.dataset)
        self.targets = draw_targets(self.construction.targets, self.train.labels, info.num_classes, self.config.seed)
        if self.construction.needs_source:
            self.model = load_model(self.store.artifact(stage.inputs["source"]), self.device)
        else:
            self.patterns = class_patterns(info.num_classes, info.shape, self.config.attack.threat, self.config.seed)

    def __call__(self, shard: int) -> None:
        """Make shard number `shard` and put it into the store."""
        import torch

        from nrf_ray.constructions import Crafted
        from nrf_ray.data.shards import Shard, write_shard

        first = shard * self.config.shard_rows
        last = min(first + self.config.shard_rows, len(self.train))
        starts = range(first, last, self.config.batch_rows)
        parts = [self._craft(slice(start, min(start + self.config.batch_rows, last))) for start in starts]
        crafted = Crafted(*(torch.cat(columns) for columns in zip(*parts, strict=True)))
        rows = slice(first, last)
        columns = {
            "index": torch.arange(first, last),
            "label": self.targets[rows],
            "true_label": self.train.labels[rows],
            "seed": torch.full((last - first,), self.config.seed),
            "loss": crafted.loss,
            "norm": crafted.norm,
            "moved": crafted.moved,
            "prediction": crafted.prediction,
            "prediction_stored": crafted.prediction_stored,
        }
        assert tuple(columns) == COLUMNS, "the columns of a shard are declared once"
        data = write_shard(Shard(crafted.images, columns, self.stage.key))
        self.store.write(self.stage, shard_name(shard), data)

    def _craft(self, rows: slice) -> "Crafted":
        from nrf_ray.constructions import Crafted, craft_adversarial, craft_pattern

        images, labels, targets = self.train.images[rows], self.train.labels[rows], self.targets[rows]
        if not self.construction.needs_source:
            return craft_pattern(images, labels, targets, self.patterns, self.config.attack.threat)
        crafted = craft_adversarial(self.model, images.to(self.device), targets.to(self.device), self.config.attack)
        return Crafted(*(column.cpu() for column in crafted))


def shard_name(index: int) -> str:
    """Return the file name of a shard."""
    return f"part-{index:05d}.parquet"


def constructed_rows(artifact: Artifact) -> "Shard":
    """Return all rows of a constructed set."""
    from nrf_ray.data.shards import concatenate, read_shard

    return concatenate([read_shard(artifact.read(name)) for name in artifact.names()])


def constructed_set(artifact: Artifact) -> "LabelledImages":
    """Return a constructed set to train on: its images with their new labels."""
    from nrf_ray.data.images import LabelledImages

    rows = constructed_rows(artifact)
    return LabelledImages(images=rows.images, labels=rows.columns["label"])


def _finished_shard(context: Context, index: int) -> "tuple[Shard, bytes] | None":
    """Return a shard that lies whole in the store, or None.

    No record vouches for it yet, so it has to be intact to the byte, of this stage, and hold the rows and columns that
    belong there.
    """
    from nrf_ray.data.shards import is_intact, read_shard

    data = context.unfinished(shard_name(index))
    if data is None:
        return None
    try:
        shard = read_shard(data)
    except ValueError:
        return None
    config: ConstructSpec = context.stage.config
    info = info_of(config.dataset)
    rows = min(config.shard_rows, info.num_train - index * config.shard_rows)
    expected = (context.stage.key, COLUMNS, (rows, *info.shape))
    found = (shard.key, tuple(shard.columns), tuple(shard.images.shape))
    return (shard, data) if found == expected and is_intact(shard, data) else None


def _refuse(index: int) -> "tuple[Shard, bytes]":
    raise OSError(f"shard {index} was written but cannot be read back whole; check the disk under the store")


def _measure(rows: "Shard") -> Metrics:
    columns = rows.columns
    crafted = bool((columns["prediction"] >= 0).all())
    norms = columns["norm"].double()

    def share_of_target(name: str) -> float | None:
        return float((columns[name] == columns["label"]).double().mean()) if crafted else None

    return {
        "n": len(norms),
        "share_target_is_label": float((columns["label"] == columns["true_label"]).double().mean()),
        "share_unmoved": float((~columns["moved"]).double().mean()),
        "mean_norm": float(norms.mean()),
        "max_norm": float(norms.max()),
        "mean_loss": float(columns["loss"].double().mean()) if crafted else None,
        "fooling_rate_crafted": share_of_target("prediction"),
        "fooling_rate": share_of_target("prediction_stored"),
    }
