"""Relabel a planted set with the classes that a model reads from one part, like the labellers of the follow-up papers.

The human part is read by a model that was trained here on human parts alone, or by a pretrained network; the noise part
by a linear classifier. A `train` stage on the result learns the labels read, not those planted, which are known too.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nrf_ray.data.catalogue import DatasetRef, info_of
from nrf_ray.data.planted import parse_planted
from nrf_ray.errors import ConfigError
from nrf_ray.features.pretrained_readers import Pretrained, macs_of
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.graph.store import Artifact
from nrf_ray.stages.costs import OVERHEAD, fit_seconds, predict_seconds, read_seconds
from nrf_ray.stages.devices import device_named
from nrf_ray.stages.reliance import check_planted

if TYPE_CHECKING:
    from torch import Tensor

Part = Literal["human", "noise"]

TOLD = 0.5
"""Share of the training examples on whose classes the linear classifier is trained; it labels all of them."""


@dataclass(frozen=True, kw_only=True)
class RelabelSpec:
    """Relabelling of one planted set by one of its parts."""

    dataset: DatasetRef
    """Dataset whose training split gets new labels."""
    part: Part
    """Part that is read."""
    pretrained: Pretrained | None = None
    """Network that reads the human part, with a linear classifier; None for the label reader that is the input."""

    def __post_init__(self) -> None:
        check_planted(self.dataset)
        if self.part not in ("human", "noise"):
            raise ConfigError(f"a planted set can be relabelled by its part human or noise, not {self.part!r}")
        reads = parse_planted(self.dataset.name).kind.reads
        if self.pretrained and (self.part, self.pretrained.reads) != ("human", reads):
            raise ConfigError(
                f"{self.pretrained.name} reads the human part of planted {self.pretrained.reads}, not the "
                f"{self.part} part of {self.dataset.name}"
            )

    @property
    def by(self) -> str:
        """Name of the label reader."""
        if self.part == "noise":
            return "a linear model"
        return self.pretrained.name if self.pretrained else "a model"


def _cost(handle: Stage) -> float:
    config: RelabelSpec = handle.config
    info, reader = info_of(config.dataset), handle.inputs.get("reader")
    rows, classes = info.num_train, info.num_classes
    made = OVERHEAD + 2 * read_seconds(config.dataset, rows)
    if reader is not None:
        return made + predict_seconds(handle, reader, images=rows)
    if config.pretrained is None:
        return made + fit_seconds(round(TOLD * rows), math.prod(info.shape), classes)
    macs, width = macs_of(config.pretrained, info.shape)
    read = rows * macs / device_named("cpu").float32
    return made + read + fit_seconds(round(TOLD * rows), width, classes)


@stage(version=1, cost=_cost)
def relabel(config: RelabelSpec, context: Context, *, reader: Artifact | None = None) -> Metrics:
    """Write the training split with the labels read; measure the share that are the class that the part really shows.

    `agreement_untold` is this share on the examples that the linear classifier was not trained on, or None if there is
    no linear classifier.
    """
    import torch

    from nrf_ray.constructions.stored_set import shard_name
    from nrf_ray.data.planted import swaps
    from nrf_ray.data.planted.generate import generate
    from nrf_ray.data.shards import Shard, write_shard
    from nrf_ray.engine.predict import predict, share
    from nrf_ray.engine.runtime import prepare
    from nrf_ray.features.pretrained_readers import features_of
    from nrf_ray.stages.weights import load_model

    needs_reader = config.part == "human" and config.pretrained is None
    if needs_reader != (reader is not None):
        raise ConfigError(f"labels read by {config.by} need {'a' if needs_reader else 'no'} label reader as input")
    device = prepare(context.stage.resources)
    train = generate(parse_planted(config.dataset.name), "train")
    parts = swaps.parts_of(train)
    shown, told = torch.from_numpy(train.noise if config.part == "noise" else train.human), None
    if reader is not None:
        labels = predict(load_model(reader, device), torch.from_numpy(parts.human).to(device)).cpu()
    else:
        told = round(TOLD * len(shown))
        features = (
            features_of(config.pretrained, train, "train") if config.pretrained else torch.from_numpy(parts.noise)
        )
        labels = _read(features.flatten(1), shown, told, train.spec.classes)
    columns = {
        "index": torch.arange(len(labels)),
        "label": labels,
        "true_label": torch.from_numpy(train.labels),
        "shown": shown,
    }
    context.write(shard_name(0), write_shard(Shard(torch.from_numpy(train.images), columns, context.stage.key)))
    right = labels == shown
    return {
        "agreement": share(right),
        "agreement_untold": None if told is None else share(right[told:]),
        "share_target_is_label": share(labels == columns["true_label"]),
        "n": len(labels),
    }


def _read(points: "Tensor", shown: "Tensor", told: int, num_classes: int) -> "Tensor":
    """Return the classes of `points` [n, f] by a linear classifier that is trained on the first `told` of them."""
    from nrf_ray.features.linear import fit_linear

    points = (points - points[:told].mean(dim=0)) / points[:told].std()
    linear = fit_linear(points[:told], shown[:told], num_classes)
    return linear.logits(points).argmax(dim=1)
