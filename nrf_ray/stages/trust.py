"""Automatic checks of whether an attack works on a model, on a few test images that the model classifies correctly."""

from dataclasses import dataclass

from nrf_ray.attacks.specs import Attack, check_measures
from nrf_ray.attacks.trust import Battery, checks_text
from nrf_ray.data.catalogue import DatasetRef, info_of
from nrf_ray.errors import ConfigError
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.graph.store import Artifact
from nrf_ray.stages.costs import OVERHEAD, attack_seconds, predict_seconds


@dataclass(frozen=True, kw_only=True)
class TrustSpec:
    """The checks of one attack on one model."""

    dataset: DatasetRef
    """Dataset whose test split is used."""
    attack: Attack
    """Untargeted attack whose strength is in question."""
    examples: int = 128
    """Number of correctly classified test images, chosen by one fixed permutation."""
    battery: Battery = "cheap"
    """Checks that are made: those of a single attack, those that trust level L1 needs, or all."""
    seed: int = 0
    """Seed of random starts, noise, random search and the surrogate."""

    def __post_init__(self) -> None:
        check_measures(self.attack)
        if self.examples < 1:
            raise ConfigError(f"the checks of an attack need examples >= 1, not {self.examples}")


def _cost(handle: Stage) -> float:
    config: TrustSpec = handle.config
    images, model = info_of(config.dataset).num_test, handle.inputs["model"]
    # The attack as it is, twice; eight times without restarts, on what it left; then noise, and queries.
    passes = (
        2 * config.attack.passes
        + 8 * config.attack.steps
        + {"cheap": 100, "required": 700, "full": 900}[config.battery]
    )
    checked = attack_seconds(handle, model, images=min(config.examples, images), steps=passes, mode=config.attack.mode)
    return OVERHEAD + checked + predict_seconds(handle, model, images=images)


@stage(version=3, cost=_cost)
def trust(config: TrustSpec, context: Context, *, model: Artifact, other: Artifact | None = None) -> Metrics:
    """Return the verdicts as one text, and the numbers of every check.

    Adversarial images of the model `other` are tried on `model`; without it, those of a surrogate.
    """
    from nrf_ray.attacks.checks import run_checks
    from nrf_ray.attacks.robustness import right_when_clean
    from nrf_ray.attacks.subject import Subject
    from nrf_ray.data.images import some
    from nrf_ray.data.load import test_split
    from nrf_ray.engine.runtime import prepare
    from nrf_ray.stages.weights import load_model

    device = prepare(context.stage.resources)
    test = test_split(config.dataset).to(device)
    network = load_model(model, device)
    right = right_when_clean(network, test)
    right = right[some(len(right), config.examples).to(right.device)]
    subjects = test.rows(right)
    found = run_checks(
        Subject(
            model=network,
            images=subjects.floats(),
            labels=subjects.labels,
            indices=right,
            attack=config.attack,
            seed=config.seed,
            others=(load_model(other, device),) if other else (),
            pool=test.images,
        ),
        config.battery,
    )
    verdicts = {name: check.verdict for name, check in found.items()}
    return {
        "checks": checks_text(verdicts),
        "n": len(right),
        **{f"{name}/{number}": value for name, check in found.items() for number, value in check.numbers.items()},
    }
