"""Construct a training set, shard by shard.

A shard is a fixed range of the original rows, crafted in fixed batches, so its bytes do not depend on who makes it. A
run that was cut off leaves whole shards behind; the next one makes only those that are missing.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from nrf_ray.attacks.specs import Attack, Substitution
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.crafts import ClassWords, Craft, Matching, Pattern, Replacement, Storage, construction_named
from nrf_ray.data.catalogue import DatasetRef, info_of
from nrf_ray.errors import ConfigError
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.graph.store import Artifact, Store
from nrf_ray.stages.costs import OVERHEAD, attack_seconds, passes

if TYPE_CHECKING:
    from torch import Tensor

    from nrf_ray.constructions import Crafted

COLUMNS = (
    "index", "start", "label", "true_label", "seed",
    "loss", "norm", "distance", "moved", "prediction", "prediction_stored",
)  # fmt: skip
"""What a shard says of each image, beside the image; `datasets.parquet` and `nrf_ray.constructions.Crafted` explain."""

TEXTS = ("text", "original")
"""What a shard says beside that where words were replaced: the text, and the one that it was made of."""

HALF_A_LEVEL = 0.5 / 255
"""A change below it, in any norm, is rounded away in images of 8 bits."""

CRAFTS: dict[str, tuple[type, ...]] = {
    "matched": (Matching,),
    "adversarial": (Attack, Substitution),
    "pattern": (ThreatModel, ClassWords),
}


@dataclass(frozen=True, kw_only=True)
class ConstructSpec:
    """One constructed set."""

    dataset: DatasetRef
    """Its images are changed."""
    construction: str
    """Name of the construction."""
    craft: Craft
    """How the images are made."""
    seed: int
    """Decides targets and starts, and the patterns of a control."""
    split: Literal["train", "test"] = "train"
    """Which images are changed; a set made of test images is for evaluation (paper D.3)."""
    storage: Storage = "uint8"
    """How pixels are kept."""
    shard_rows: int = 4096
    """Rows a file."""
    batch_rows: int = 256
    """Rows crafted together."""

    def __post_init__(self) -> None:
        wanted = CRAFTS[construction_named(self.construction).features]
        if not isinstance(self.craft, wanted):
            raise ConfigError(
                f"{self.construction} is made with a {wanted[0].__name__}, not with a {type(self.craft).__name__}"
            )
        if self.storage == "uint8" and self.threat is not None and self.threat.eps < HALF_A_LEVEL:
            raise ConfigError(
                f"epsilon {self.threat.eps:g} is less than half of one of the 256 levels of a pixel "
                f"({HALF_A_LEVEL:.2g}), so nothing would be left of it in images that are kept as uint8; choose a "
                "larger epsilon, or --storage float32"
            )

    @property
    def num_rows(self) -> int:
        """How many images the set has."""
        info = info_of(self.dataset)
        return info.num_train if self.split == "train" else info.num_test

    @property
    def num_shards(self) -> int:
        """How many files the set has."""
        return math.ceil(self.num_rows / self.shard_rows)

    @property
    def threat(self) -> ThreatModel | None:
        """The ball that bounds every perturbation; None where only the box does."""
        match self.craft:
            case Attack(threat=threat):
                return threat
            case ThreatModel():
                return self.craft
            case Matching() | Substitution() | ClassWords():
                return None

    @property
    def is_control(self) -> bool:
        """Whether the images carry a pattern and no feature of a source."""
        return isinstance(self.craft, Pattern)

    @property
    def replaces_words(self) -> bool:
        """Whether its texts are whole words again, which people can read."""
        return isinstance(self.craft, Replacement)


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
    from nrf_ray.data.shards import concatenate
    from nrf_ray.stages.constructed import finished_shard, measure, refuse

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
        from nrf_ray.constructions import draw_targets
        from nrf_ray.data.images import as_float
        from nrf_ray.data.load import test_split, train_split, word_table
        from nrf_ray.engine.runtime import prepare
        from nrf_ray.engine.twin import twin
        from nrf_ray.matching import draw_starts
        from nrf_ray.stages.control import control_maker
        from nrf_ray.stages.lexicons import lexicon_of
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
        from nrf_ray.stages.constructed import shard_name

        first = shard * self.config.shard_rows
        data = self._rows(first, min(first + self.config.shard_rows, len(self.originals)))
        self.store.write(self.stage, shard_name(shard), data)

    def _rows(self, first: int, last: int) -> bytes:
        import torch

        from nrf_ray.constructions import Crafted
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
        from nrf_ray.constructions import Crafted, craft_adversarial, craft_matched

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
        from nrf_ray.matching import grey_noise

        if self.config.craft.start == "noise":
            return grey_noise(range(rows.start, rows.stop), self.shape, self.config.seed)
        return self.originals.images[self.starts[rows]]

    def _spared(self, rows: slice) -> "Tensor":
        """Return which rows of a control stay clean."""
        from nrf_ray.engine.predict import predict

        if self.construction.spares == "same":
            return self.targets[rows] == self.originals.labels[rows]
        return predict(self.model, self.originals.images[rows].to(self.device)).cpu() == self.targets[rows]
