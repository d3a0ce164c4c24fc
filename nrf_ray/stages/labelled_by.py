"""Images of one dataset with the labels that a model of another dataset gives them (Wallace 2019)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nrf_ray.data.catalogue import DatasetRef, info_of
from nrf_ray.errors import ConfigError
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.graph.store import Artifact
from nrf_ray.stages.costs import OVERHEAD, predict_seconds, read_seconds

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LabelledSpec:
    """One set of foreign images."""

    dataset: DatasetRef
    """Dataset of the labeller: the images get its shape and its classes."""
    carrier: DatasetRef
    """Dataset whose training images are labelled."""

    def __post_init__(self) -> None:
        if self.carrier == self.dataset:
            raise ConfigError(f"{self.dataset.name} cannot carry its own labels; give other images with --carrier")
        for ref in (self.dataset, self.carrier):
            if info_of(ref).kind != "images":
                raise ConfigError(f"labels are carried by images from images, and {ref.name} holds texts")

    @property
    def num_rows(self) -> int:
        """Number of images."""
        return info_of(self.carrier).num_train


def _cost(handle: Stage) -> float:
    config: LabelledSpec = handle.config
    rows = config.num_rows
    read = read_seconds(config.carrier, rows) + read_seconds(config.dataset, rows)
    return OVERHEAD + predict_seconds(handle, handle.inputs["labeller"], images=rows) + read


@stage(version=1, cost=_cost)
def labelled_by(config: LabelledSpec, context: Context, *, labeller: Artifact) -> Metrics:
    """Write the images with their labels; measure the share of the label that is given most often."""
    import torch

    from nrf_ray.constructions.stored_set import shard_name
    from nrf_ray.data.images import as_uint8
    from nrf_ray.data.load import train_split
    from nrf_ray.data.shards import Shard, write_shard
    from nrf_ray.engine.predict import predict
    from nrf_ray.engine.runtime import prepare
    from nrf_ray.stages.weights import load_model

    device = prepare(context.stage.resources)
    info = info_of(config.dataset)
    images = as_uint8(refitted(train_split(config.carrier).floats(), info.shape))
    labels = predict(load_model(labeller, device), images.to(device)).cpu().clamp_min(0)
    most = float(torch.bincount(labels, minlength=info.num_classes).max()) / len(labels)
    columns = {"label": labels, "true_label": torch.full_like(labels, -1)}
    context.write(shard_name(0), write_shard(Shard(images, columns, context.stage.key)))
    return {"share_of_commonest": most, "n": len(labels)}


def refitted(images: "Tensor", shape: tuple[int, int, int]) -> "Tensor":
    """Return `images` [n, c, h, w] in another shape (c, h, w): resized by area; channels averaged, or repeated."""
    import torch.nn.functional as F

    channels, height, width = shape
    sized = F.interpolate(images, size=(height, width), mode="area")
    return sized if sized.shape[1] == channels else sized.mean(dim=1, keepdim=True).repeat(1, channels, 1, 1)
