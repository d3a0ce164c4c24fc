"""Transfer: predictions of a victim on the adversarial images that were found against another model."""

from dataclasses import dataclass

from nrf_ray.data.catalogue import info_of
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.graph.store import Artifact
from nrf_ray.stages.costs import OVERHEAD, predict_seconds, read_seconds


@dataclass(frozen=True, kw_only=True)
class TransferSpec:
    """One victim on one set of adversarial images."""

    targeted: bool
    """Success is the target class (True, the paper's Figure 13) or any class but the true one (False, Figure 3)."""


def _cost(handle: Stage) -> float:
    dataset = handle.inputs["adversarial"].config.dataset
    images = info_of(dataset).num_test
    predicted = predict_seconds(handle, handle.inputs["victim"], images=images)
    return OVERHEAD + read_seconds(dataset, images) + predicted


@stage(version=2, cost=_cost)
def transfer(config: TransferSpec, context: Context, *, victim: Artifact, adversarial: Artifact) -> Metrics:
    """Measure the success rate over all test images, including those that the victim misclassifies when clean.

    The victim's mistakes are split by whether the source makes the same mistake on the same image.
    """
    from nrf_ray.attacks.mistakes import mistakes
    from nrf_ray.data.shards import read_shard
    from nrf_ray.engine.predict import predict, share
    from nrf_ray.engine.runtime import prepare
    from nrf_ray.stages.attack import FILE
    from nrf_ray.stages.weights import load_model

    device = prepare(context.stage.resources)
    shard = read_shard(adversarial.read(FILE))
    predictions = predict(load_model(victim, device), shard.images.to(device)).cpu()
    columns = shard.columns
    success = predictions == columns["target"] if config.targeted else predictions != columns["label"]
    num_classes = info_of(context.stage.inputs["adversarial"].config.dataset).num_classes
    found = mistakes(columns["label"], columns["prediction"], predictions, num_classes)
    return {
        "success_rate": share(success),
        "same_mistake_rate": found.same,
        "different_mistake_rate": found.different,
        "same_by_chance": found.same_by_chance,
        "n": len(predictions),
    }
