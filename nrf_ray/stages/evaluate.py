"""Stage that measures a model's accuracy on the clean test set, and on the same images relabelled."""

from dataclasses import dataclass

from nrf_ray.data.catalogue import DatasetRef, info_of
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.graph.store import Artifact
from nrf_ray.stages.costs import OVERHEAD, predict_seconds


@dataclass(frozen=True, kw_only=True)
class EvaluateSpec:
    """Spec of one evaluation."""

    dataset: DatasetRef
    """Dataset whose test split is used."""


def _cost(handle: Stage) -> float:
    images = info_of(handle.config.dataset).num_test
    return OVERHEAD + predict_seconds(handle, handle.inputs["model"], images=images)


@stage(version=1, cost=_cost)
def evaluate(config: EvaluateSpec, context: Context, *, model: Artifact) -> Metrics:
    """Measure accuracy on (x, y), and on (x, y + 1) as in the paper's Table 10."""
    from nrf_ray.data.load import shared_rows, test_split
    from nrf_ray.engine.predict import next_labels, predict, share
    from nrf_ray.engine.runtime import prepare
    from nrf_ray.stages.weights import load_model

    device = prepare(context.stage.resources)
    test = test_split(config.dataset).to(device)
    predictions = predict(load_model(model, device), test.images)
    relabelled = next_labels(test.labels, info_of(config.dataset).num_classes)
    return {
        "clean_accuracy": share(predictions == test.labels),
        "relabelled_accuracy": share(predictions == relabelled),
        "n": len(test),
        "shared_rows": shared_rows(config.dataset),
    }
