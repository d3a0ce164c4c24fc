"""Predictions of a model on the images of a constructed set: the old label, the new label, or neither.

A robust judge (an adversarially trained model) relies more on robust features than a standard model. If it predicts t,
the construction may have changed robust content, and a student's accuracy says less about non-robust features. The
judge is only as reliable as its own robust accuracy at that radius, which is in the table `robustness`.
"""

from dataclasses import dataclass

from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.graph.store import Artifact
from nrf_ray.stages.costs import OVERHEAD, predict_seconds, read_seconds, rows_of


@dataclass(frozen=True, kw_only=True)
class JudgeSpec:
    """Empty spec: the stage depends on its inputs alone."""


def _cost(handle: Stage) -> float:
    data = handle.inputs["data"]
    rows = rows_of(data)
    predicted = predict_seconds(handle, handle.inputs["model"], images=rows)
    return OVERHEAD + read_seconds(data.config.dataset, rows) + predicted


@stage(version=1, cost=_cost)
def judge(config: JudgeSpec, context: Context, *, data: Artifact, model: Artifact) -> Metrics:
    """Measure the shares of the set for which `model` predicts the true label y and the new label t."""
    from nrf_ray.constructions.stored_set import constructed_rows
    from nrf_ray.engine.predict import predict, share
    from nrf_ray.engine.runtime import prepare
    from nrf_ray.stages.weights import load_model

    device = prepare(context.stage.resources)
    del config
    rows = constructed_rows(data)
    predictions = predict(load_model(model, device), rows.images.to(device)).cpu()
    return {
        "says_label": share(predictions == rows.columns["true_label"]),
        "says_target": share(predictions == rows.columns["label"]),
        "n": len(predictions),
    }
