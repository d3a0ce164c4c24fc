"""Robust accuracy of a model on the test set, under one named attack."""

from dataclasses import dataclass

from nrf_ray.attacks.specs import AnyAttack, Attack, AutoAttack, FunctionAttack, check_measures
from nrf_ray.attacks.trust import checks_text
from nrf_ray.data.catalogue import DatasetRef, info_of
from nrf_ray.errors import ConfigError
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.graph.store import Artifact
from nrf_ray.stages.costs import OVERHEAD, attack_seconds, predict_seconds, rows_of


@dataclass(frozen=True, kw_only=True)
class RobustnessSpec:
    """One attack on one model."""

    dataset: DatasetRef
    """Dataset whose test split is attacked."""
    attack: AnyAttack
    """Untargeted attack, within its threat model."""
    examples: int | None = None
    """Number of images, chosen by one fixed permutation; None for all."""
    seed: int = 0
    """Seed of random starts, which belong to the index of an image among those that are tested."""

    def __post_init__(self) -> None:
        check_measures(self.attack)
        if self.examples is not None and self.examples < 1:
            raise ConfigError(f"robustness needs examples >= 1, or None for all, not {self.examples}")


def _cost(handle: Stage) -> float:
    config: RobustnessSpec = handle.config
    model, data = handle.inputs["model"], handle.inputs.get("data")
    held = info_of(config.dataset).num_test if data is None else rows_of(data)
    images = min(config.examples or held, held)
    mode = config.attack.mode if isinstance(config.attack, Attack) else "faithful"
    attacked = attack_seconds(handle, model, images=images, steps=config.attack.passes, mode=mode)
    return OVERHEAD + attacked + predict_seconds(handle, model, images=2 * images)


@stage(version=4, cost=_cost)
def robustness(config: RobustnessSpec, context: Context, *, model: Artifact, data: Artifact | None = None) -> Metrics:
    """Measure the share of test images, or images of a constructed set, that stay correctly classified under attack."""
    from nrf_ray.attacks.hotflip import lexicon_of
    from nrf_ray.attacks.robustness import against, robust_accuracy
    from nrf_ray.constructions.stored_set import constructed_set
    from nrf_ray.data.images import some
    from nrf_ray.data.load import test_split
    from nrf_ray.engine.predict import accuracy
    from nrf_ray.engine.runtime import prepare
    from nrf_ray.stages.weights import load_model

    device = prepare(context.stage.resources)
    tested = test_split(config.dataset) if data is None else constructed_set(data)
    tested = tested.to(device)
    tested = tested.rows(some(len(tested), config.examples).to(device))
    network = load_model(model, device)
    clean = {"clean_accuracy": accuracy(network, tested.images, tested.labels), "n": len(tested)}
    if isinstance(config.attack, AutoAttack | FunctionAttack):
        found = against(network, tested, config.attack, seed=config.seed)
        return {**clean, **found.shares, "checks": checks_text(found.verdicts)}
    words = lexicon_of(config.dataset, config.attack, device) if config.attack.replaces_words else None
    return {
        **clean,
        "robust_accuracy": robust_accuracy(network, tested, config.attack, seed=config.seed, words=words),
    }
