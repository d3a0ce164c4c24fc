"""Robust accuracy of a model on the test set, under one named attack."""

from dataclasses import dataclass

from nrf_ray.data.catalogue import DatasetRef, info_of
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.graph.store import Artifact
from nrf_ray.specs import Attack
from nrf_ray.stages.costs import attack_seconds


@dataclass(frozen=True, kw_only=True)
class RobustnessSpec:
    """One attack on one model."""

    dataset: DatasetRef
    """Its test split is attacked."""
    examples: int | None = None
    """Images that are attacked, from the first; None for all."""
    attack: Attack
    """Untargeted, without random start."""


def _cost(handle: Stage) -> float:
    config: RobustnessSpec = handle.config
    info = info_of(config.dataset)
    arch, device = handle.inputs["model"].config.arch, handle.resources.device
    images = min(config.examples or info.num_test, info.num_test)
    return attack_seconds(arch, info, images, config.attack.steps, device)


@stage(version=2, cost=_cost)
def robustness(config: RobustnessSpec, context: Context, *, model: Artifact, data: Artifact | None = None) -> Metrics:
    """Measure the share of test images, or of the images of a constructed set, that stay right under the attack."""
    from nrf_ray.data.load import test_split
    from nrf_ray.evaluation import robust_accuracy
    from nrf_ray.stages.constructed import constructed_set
    from nrf_ray.stages.runtime import prepare
    from nrf_ray.stages.weights import load_model

    device = prepare(context.stage.resources)
    tested = test_split(config.dataset) if data is None else constructed_set(data)
    tested = tested.to(device).rows(slice(config.examples))
    return {
        "robust_accuracy": robust_accuracy(load_model(model, device), tested, config.attack),
        "n": len(tested),
    }
