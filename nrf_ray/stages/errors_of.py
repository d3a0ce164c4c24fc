"""The training images that a model misclassifies, with the wrong labels that it predicts (Wallace 2019)."""

from dataclasses import dataclass

from nrf_ray.data.catalogue import DatasetRef, info_of
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.graph.store import Artifact
from nrf_ray.stages.costs import OVERHEAD, predict_seconds, read_seconds


@dataclass(frozen=True, kw_only=True)
class ErrorsSpec:
    """Errors of one model on the training split of one dataset."""

    dataset: DatasetRef
    """Dataset whose training split is labelled."""


def _cost(handle: Stage) -> float:
    rows = info_of(handle.config.dataset).num_train
    predicted = predict_seconds(handle, handle.inputs["labeller"], images=rows)
    return OVERHEAD + predicted + 2 * read_seconds(handle.config.dataset, rows)


@stage(version=1, cost=_cost)
def errors_of(config: ErrorsSpec, context: Context, *, labeller: Artifact) -> Metrics:
    """Write the misclassified images with their wrong labels; measure the labeller's accuracy on the training split."""
    import torch

    from nrf_ray.constructions.stored_set import shard_name
    from nrf_ray.data.load import train_split
    from nrf_ray.data.shards import Shard, write_shard
    from nrf_ray.engine.predict import predict, share
    from nrf_ray.engine.runtime import prepare
    from nrf_ray.stages.weights import load_model

    device = prepare(context.stage.resources)
    originals = train_split(config.dataset)
    predictions = predict(load_model(labeller, device), originals.images.to(device)).cpu()
    wrong = torch.nonzero((predictions != originals.labels) & (predictions >= 0)).flatten()
    labels, true = predictions[wrong], originals.labels[wrong]
    columns = {"index": wrong, "label": labels, "true_label": true}
    context.write(shard_name(0), write_shard(Shard(originals.images[wrong], columns, context.stage.key)))
    return {
        "labeller_accuracy": share(predictions == originals.labels),
        "n": len(wrong),
    }
