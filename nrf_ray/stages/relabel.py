"""Relabel a planted set by what models read in one of its parts, as the sources' labellers do; the truth is known too.

The human part is read by a model (trained here on human parts alone, or imported: a pretrained vision model or text
encoder), the noise part by a linear classifier. What `train` makes of the result is trained on labels that someone
read, not on labels that were planted.
"""

from dataclasses import dataclass
from typing import Literal

from nrf_ray.data.catalogue import DatasetRef
from nrf_ray.errors import ConfigError
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, stage
from nrf_ray.graph.store import Artifact
from nrf_ray.planted import parse_planted
from nrf_ray.stages.costs import OVERHEAD
from nrf_ray.stages.reliance import check_planted

Part = Literal["human", "noise"]

FITTED = 0.5
"""Share of the training examples that the linear classifier is fitted on; it labels all of them."""


@dataclass(frozen=True, kw_only=True)
class RelabelSpec:
    """One part of one planted set."""

    dataset: DatasetRef
    """Its training split gets new labels."""
    part: Part
    """The part that is read."""

    def __post_init__(self) -> None:
        check_planted(self.dataset)
        if self.part not in ("human", "noise"):
            raise ConfigError(f"a planted set is relabelled by its part human or noise, not {self.part!r}")


@stage(version=1, cost=lambda handle: 20 * OVERHEAD)
def relabel(config: RelabelSpec, context: Context, *, reader: Artifact | None = None) -> Metrics:
    """Write the training split with labels as read; measure how many are the class that the part really shows.

    `reader` reads the human part; the noise part needs none.
    """
    import torch

    from nrf_ray.data.shards import Shard, write_shard
    from nrf_ray.evaluation import predict, share
    from nrf_ray.linear import fit_linear
    from nrf_ray.planted import swaps
    from nrf_ray.planted.generate import generate
    from nrf_ray.stages.constructed import shard_name
    from nrf_ray.stages.runtime import prepare
    from nrf_ray.stages.weights import load_model

    if (reader is None) == (config.part == "human"):
        raise ConfigError(f"relabel by the {config.part} part takes {'a' if config.part == 'human' else 'no'} reader")
    device = prepare(context.stage.resources)
    train = generate(parse_planted(config.dataset.name), "train")
    parts = swaps.parts_of(train)
    if reader is not None:
        shown = torch.from_numpy(train.human)
        labels = predict(load_model(reader, device), torch.from_numpy(parts.human).to(device)).cpu()
    else:
        shown, points = torch.from_numpy(train.noise), torch.from_numpy(parts.noise).flatten(1)
        fitted = round(FITTED * len(points))
        points = points / points.std()
        linear = fit_linear(points[:fitted], shown[:fitted], train.spec.classes)
        labels = linear.logits(points).argmax(dim=1)
    columns = {
        "index": torch.arange(len(labels)),
        "label": labels,
        "true_label": torch.from_numpy(train.labels),
        "shown": shown,
    }
    context.write(shard_name(0), write_shard(Shard(torch.from_numpy(train.images), columns, context.stage.key)))
    return {"agreement": share(labels == shown), "n": len(labels)}
