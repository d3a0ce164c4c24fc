"""Validation accuracy, to choose a recipe by: accuracy on rows of a constructed set that were held out of training.

Accuracy on the same rows is measured twice: on the constructed images with their new labels t, and on the clean
originals that they were made from, with their true labels y. The paper had only the first, and found it not meaningful
(D.4).
"""

from dataclasses import dataclass

from nrf_ray.data.catalogue import DatasetRef
from nrf_ray.errors import ConfigError
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.graph.store import Artifact
from nrf_ray.stages.costs import OVERHEAD, predict_seconds, read_seconds, rows_of


@dataclass(frozen=True, kw_only=True)
class ValidateSpec:
    """One validation."""

    dataset: DatasetRef
    """Dataset that the constructed set was made from."""
    holdout: float
    """Share of rows that the model was not trained on."""

    def __post_init__(self) -> None:
        if not 0 < self.holdout < 1:
            raise ConfigError(f"a validation needs 0 < holdout < 1, not {self.holdout:g}")


def _cost(handle: Stage) -> float:
    rows = rows_of(handle.inputs["data"])
    held_out = round(handle.config.holdout * rows)
    predicted = predict_seconds(handle, handle.inputs["model"], images=held_out)
    return OVERHEAD + read_seconds(handle.config.dataset, rows) + 2 * predicted


@stage(version=1, cost=_cost)
def validate(config: ValidateSpec, context: Context, *, model: Artifact, data: Artifact) -> Metrics:
    """Measure accuracy on the held-out rows: on the constructed images towards t, on their originals towards y."""
    from nrf_ray.constructions.stored_set import constructed_rows
    from nrf_ray.data.images import holdout
    from nrf_ray.data.load import train_split
    from nrf_ray.engine.predict import predict, share
    from nrf_ray.engine.runtime import prepare
    from nrf_ray.stages.weights import load_model

    device = prepare(context.stage.resources)
    rows = constructed_rows(data)
    _, held = holdout(len(rows.images), config.holdout)
    originals = train_split(config.dataset).rows(rows.columns["index"][held])
    network = load_model(model, device)
    on_constructed = predict(network, rows.images[held].to(device)).cpu()
    on_originals = predict(network, originals.images.to(device)).cpu()
    return {
        "constructed_validation": share(on_constructed == rows.columns["label"][held]),
        "clean_validation": share(on_originals == originals.labels),
        "validation_examples": len(held),
    }
