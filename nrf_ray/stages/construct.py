"""Construct a training set, shard by shard.

A shard is a fixed range of the original rows, crafted in fixed batches, so its bytes do not depend on who makes it. A
run that was cut off leaves whole shards behind; the next one makes only those that are missing.
"""

from functools import partial
from typing import TYPE_CHECKING

from nrf_ray.attacks.specs import Attack, Substitution
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.constructions.construct_spec import COLUMNS, TEXTS, ConstructSpec
from nrf_ray.constructions.spec import ClassWords, Matching, Pattern, construction_named
from nrf_ray.data.catalogue import info_of
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.graph.store import Artifact, Store
from nrf_ray.stages.costs import OVERHEAD, attack_seconds, passes

if TYPE_CHECKING:
    from torch import Tensor

    from nrf_ray.constructions.crafted import Crafted


def _cost(handle: Stage) -> float:
    config: ConstructSpec = handle.config
    if isinstance(config.craft, Pattern):
        return 2 * OVERHEAD
    info = info_of(config.dataset)
    arch, device = handle.inputs["source"].config.arch, handle.resources.device
    steps = config.craft.steps if isinstance(config.craft, Matching) else passes(config.craft)
    return attack_seconds(arch, info, config.num_rows, steps, device)


@stage(version=2, cost=_cost)
def construct(config: ConstructSpec, context: Context, *, source: Artifact | None = None) -> Metrics:
    """Write `part-00000.parquet` and so on, one row an image; measure what was done to the images."""
    from nrf_ray.constructions.stored_set import finished_shard, measure, refuse
    from nrf_ray.data.shards import concatenate

    del source  # every shard worker opens it itself
    missing = [index for index in range(config.num_shards) if finished_shard(context, index) is None]
    context.map_shards(partial(CraftShard, context.stage, context.store.uri), missing)
    shards = []
    for index in range(config.num_shards):
        shard, leftover = finished_shard(context, index) or refuse(index)
        context.adopt(leftover)
        shards.append(shard._replace(images=shard.images[:0].clone()))  # all of them need not fit into memory
    return measure(config, concatenate(shards))


class CraftShard:
    """Makes shards of one set; loads the source model once. Runs in the trial or in a Ray Data actor."""

    def __init__(self, stage: Stage, store_uri: str) -> None:
        from nrf_ray.attacks.hotflip import lexicon_of
        from nrf_ray.constructions.controls import control_maker
        from nrf_ray.constructions.crafted import draw_targets
        from nrf_ray.constructions.matching import draw_starts
        from nrf_ray.data.images import as_float
        from nrf_ray.data.load import test_split, train_split, word_table
        from nrf_ray.engine.runtime import prepare
        from nrf_ray.engine.twin import twin
        from nrf_ray.stages.weights import load_model

        self.device = prepare(stage.resources)
        self.stage, self.config = stage, stage.config
        self.store = Store.open(store_uri, create=False)
        config: ConstructSpec = self.config
        info = info_of(config.dataset)
        self.shape = info.shape
        self.construction = construction_named(config.construction)
        self.originals = (train_split if config.split == "train" else test_split)(config.dataset)
        self.targets = draw_targets(self.construction.targets, self.originals.labels, info.num_classes, config.seed)
        self.starts = draw_starts(len(self.originals), config.seed)
        if "source" in stage.inputs:
            self.model = load_model(self.store.artifact(stage.inputs["source"]), self.device)
        if isinstance(config.craft, Attack | Substitution):
            example = as_float(self.originals.images[:1].to(self.device))
            self.network = twin(self.model, example, config.craft.mode)
        self.lexicon = lexicon_of(config.dataset, config.craft, self.device)
        self.table = word_table(config.dataset) if config.replaces_words else None
        if config.is_control:
            self.control = control_maker(config)

    def __call__(self, shard: int) -> None:
        """Make shard number `shard` and put it into the store."""
        from nrf_ray.constructions.stored_set import shard_name

        first = shard * self.config.shard_rows
        data = self._rows(first, min(first + self.config.shard_rows, len(self.originals)))
        self.store.write(self.stage, shard_name(shard), data)

    def _rows(self, first: int, last: int) -> bytes:
        import torch

        from nrf_ray.constructions.crafted import Crafted
        from nrf_ray.data.shards import Shard, write_shard

        size = self.config.batch_rows
        parts = [self._craft(slice(start, min(start + size, last))) for start in range(first, last, size)]
        crafted = Crafted(*(torch.cat(columns) for columns in zip(*parts, strict=True)))
        rows = slice(first, last)
        columns = {
            "index": torch.arange(first, last),
            "start": self._started_from(rows),
            "label": self.targets[rows],
            "true_label": self.originals.labels[rows],
            "seed": torch.full((last - first,), self.config.seed),
            **{name: values for name, values in crafted._asdict().items() if name != "images"},
        }
        ordered = {name: columns[name] for name in COLUMNS}
        return write_shard(Shard(crafted.images, ordered, self.stage.key, self._texts(crafted.images, rows)))

    def _texts(self, images: "Tensor", rows: slice) -> dict[str, list[str]]:
        """Return what people can read of `images`, the new ones, and of the `rows` that they were made of."""
        from nrf_ray.data.images import as_float, as_uint8

        if self.table is None:
            return {}
        both = (images, self.originals.images[rows])
        levels = [as_uint8(as_float(texts)).numpy() for texts in both]
        return dict(zip(TEXTS, map(self.table.texts_of, levels), strict=True))

    def _started_from(self, rows: slice) -> "Tensor":
        """Return the index of the image that each row started from; -1 for noise."""
        import torch

        if not isinstance(self.config.craft, Matching):
            return torch.arange(rows.start, rows.stop)
        return self.starts[rows] if self.config.craft.start == "image" else torch.full_like(self.starts[rows], -1)

    def _craft(self, rows: slice) -> "Crafted":
        from nrf_ray.constructions.adversarial import craft_adversarial
        from nrf_ray.constructions.crafted import Crafted
        from nrf_ray.constructions.matching import craft_matched

        config: ConstructSpec = self.config
        images, targets = self.originals.images[rows], self.targets[rows]
        match config.craft:
            case ThreatModel() | ClassWords():
                return self.control(images, targets, self._spared(rows), range(rows.start, rows.stop))
            case Attack() | Substitution():
                on_device = images.to(self.device), targets.to(self.device)
                crafted = craft_adversarial(self.network, *on_device, config.craft, config.storage, words=self.lexicon)
            case Matching():
                on_device = images.to(self.device), self._start_images(rows).to(self.device)
                crafted = craft_matched(self.model, *on_device, config.craft, config.storage)
        return Crafted(*(column.cpu() for column in crafted))

    def _start_images(self, rows: slice) -> "Tensor":
        from nrf_ray.constructions.matching import grey_noise

        if self.config.craft.start == "noise":
            return grey_noise(range(rows.start, rows.stop), self.shape, self.config.seed)
        return self.originals.images[self.starts[rows]]

    def _spared(self, rows: slice) -> "Tensor":
        """Return which rows of a control stay clean."""
        from nrf_ray.engine.predict import predict

        if self.construction.spares == "same":
            return self.targets[rows] == self.originals.labels[rows]
        return predict(self.model, self.originals.images[rows].to(self.device)).cpu() == self.targets[rows]
