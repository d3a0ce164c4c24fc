"""Construct a training set, shard by shard.

A shard is a fixed range of the original rows, crafted in fixed batches, so its bytes do not depend on the process that
makes it. An interrupted run leaves complete shards behind; the next run makes only the missing ones.
"""

from functools import partial
from typing import TYPE_CHECKING

from nrf_ray.constructions.construct_spec import COLUMNS, TEXTS, ConstructSpec
from nrf_ray.constructions.craft import Setup
from nrf_ray.constructions.registry import craft_of
from nrf_ray.constructions.spec import construction_named
from nrf_ray.data.catalogue import info_of
from nrf_ray.graph import headway
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.graph.store import Artifact, Store
from nrf_ray.stages.costs import OVERHEAD, attack_seconds, predict_seconds, read_seconds
from nrf_ray.stages.pushed_sets import bring

if TYPE_CHECKING:
    from torch import Tensor


def _cost(handle: Stage) -> float:
    config: ConstructSpec = handle.config
    craft, rows = craft_of(config.craft), config.num_rows
    written = OVERHEAD + 2 * read_seconds(config.dataset, rows)
    source, steps = handle.inputs.get("source"), craft.passes(config.craft)
    if source is None:
        return written
    mode = craft.mode(config.craft) or "faithful"
    crafted = attack_seconds(handle, source, images=rows, steps=steps, mode=mode)
    return written + crafted + 2 * predict_seconds(handle, source, images=rows)


@stage(version=3, cost=_cost)
def construct(config: ConstructSpec, context: Context, *, source: Artifact | None = None) -> Metrics:
    """Write `part-00000.parquet` and so on, one row per image; measure how the images were changed."""
    from nrf_ray.constructions.stored_set import finished_shard, measure, refuse
    from nrf_ray.data.shards import RowsDigest, concatenate

    del source  # each shard worker opens the source itself
    missing = [index for index in range(config.num_shards) if finished_shard(context, index) is None]
    context.map_shards(partial(CraftShard, context.stage, context.store.uri), missing)
    shards, digest = [], RowsDigest()
    for index in range(config.num_shards):
        shard, leftover = finished_shard(context, index) or refuse(index)
        context.adopt(leftover)
        digest.add(shard)
        shards.append(shard._replace(images=shard.images[:0].clone()))  # all images need not fit into memory
    return {**measure(config, concatenate(shards)), "rows_sha256": digest.hexdigest()}


class CraftShard:
    """Shard worker of one set. It loads the source model once, and runs in the trial or in a Ray Data actor."""

    def __init__(self, stage: Stage, store_uri: str) -> None:
        from nrf_ray.constructions.crafted import draw_targets
        from nrf_ray.data.load import test_split, train_split, word_table
        from nrf_ray.engine.runtime import prepare
        from nrf_ray.stages.weights import load_model

        device = prepare(stage.resources)
        self.stage, self.store = stage, Store.open(store_uri, create=False)
        bring(stage, self.store.blobs)
        config: ConstructSpec = stage.config
        craft = craft_of(config.craft)
        originals = (train_split if config.split == "train" else test_split)(config.dataset)
        rule, classes = construction_named(config.construction).targets, info_of(config.dataset).num_classes
        source = stage.inputs.get("source")
        self.setup = Setup(
            config=config,
            originals=originals,
            targets=draw_targets(rule, originals.labels, classes, config.seed),
            starts=craft.draw_starts(config.craft, len(originals), config.seed),
            model=load_model(self.store.artifact(source), device) if source else None,
            device=device,
        )
        self.make = craft.make(self.setup)
        self.table = word_table(config.dataset) if config.replaces_words else None

    def __call__(self, shard: int) -> None:
        """Make the shard with index `shard` and write it to the store."""
        from nrf_ray.constructions.stored_set import shard_name

        self.store.write(self.stage, shard_name(shard), self._rows(self.setup.config.rows_of(shard)))

    def _rows(self, rows: range) -> bytes:
        import torch

        from nrf_ray.constructions.crafted import Crafted
        from nrf_ray.data.shards import Shard, write_shard

        setup, size = self.setup, self.setup.config.batch_rows
        firsts = headway.over(range(rows.start, rows.stop, size), "batches", images=len(rows))
        parts = [self.make(slice(first, min(first + size, rows.stop))) for first in firsts]
        crafted = Crafted(*(torch.cat(columns) for columns in zip(*parts, strict=True)))
        columns = {
            "index": torch.arange(rows.start, rows.stop),
            "start": setup.starts[rows.start : rows.stop],
            "label": setup.targets[rows.start : rows.stop],
            "true_label": setup.originals.labels[rows.start : rows.stop],
            "seed": torch.full((len(rows),), setup.config.seed),
            **{name: values for name, values in crafted._asdict().items() if name != "images"},
        }
        ordered = {name: columns[name] for name in COLUMNS}
        return write_shard(Shard(crafted.images, ordered, self.stage.key, self._texts(crafted.images, rows)))

    def _texts(self, images: "Tensor", rows: range) -> dict[str, list[str]]:
        """Return the texts of the new `images`, and of the original `rows` that they were made from."""
        from nrf_ray.data.images import as_float, as_uint8

        if self.table is None:
            return {}
        both = (images, self.setup.originals.images[rows.start : rows.stop])
        levels = [as_uint8(as_float(texts)).numpy() for texts in both]
        return dict(zip(TEXTS, map(self.table.texts_of, levels), strict=True))
