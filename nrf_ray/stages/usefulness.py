"""Usefulness and robust usefulness of every penultimate unit of a model (paper section 2)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nrf_ray.attacks.specs import Attack
from nrf_ray.data.catalogue import DatasetRef, info_of
from nrf_ray.errors import ConfigError
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.graph.store import Artifact
from nrf_ray.models.catalogue import architecture_named
from nrf_ray.stages.costs import OVERHEAD, attack_seconds, predict_seconds

if TYPE_CHECKING:
    from nrf_ray.features.units import Questions, Units, Usefulness

UNITS_FILE = "units.parquet"


@dataclass(frozen=True, kw_only=True)
class UsefulnessSpec:
    """One ball around the images of one dataset."""

    dataset: DatasetRef
    """Dataset on whose training split each unit is scaled and given its class; usefulness is that on its test split."""
    attack: Attack
    """Attack whose ball is that of robust usefulness, and whose steps seek the infimum."""
    useful_from: float
    """Least rho of a useful unit."""
    examples: int | None = None
    """Number of test images, chosen by one fixed permutation; None for all."""

    def __post_init__(self) -> None:
        if self.attack.start != "image" or self.attack.restarts > 1:
            raise ConfigError(f"usefulness needs an attack with one start, at the image itself, not {self.attack.name}")


def _cost(handle: Stage) -> float:
    config: UsefulnessSpec = handle.config
    info, model = info_of(config.dataset), handle.inputs["model"]
    images = min(config.examples or info.num_test, info.num_test)
    pairs = images * architecture_named(model.config.arch).units
    attacked = attack_seconds(handle, model, images=pairs, steps=config.attack.steps, mode=config.attack.mode)
    seen = 2 * info.num_train + 3 * images + pairs
    return OVERHEAD + attacked + predict_seconds(handle, model, images=seen)


@stage(version=2, cost=_cost)
def usefulness(config: UsefulnessSpec, context: Context, *, model: Artifact) -> Metrics:
    """Write `units.parquet`, one row per unit that varies; measure the number of units of each kind."""
    from nrf_ray.data.images import some
    from nrf_ray.data.load import test_split, train_split
    from nrf_ray.engine.runtime import prepare
    from nrf_ray.features import units as features
    from nrf_ray.stages.weights import load_model

    device = prepare(context.stage.resources)
    num_classes = info_of(config.dataset).num_classes
    train = train_split(config.dataset).to(device)
    test = test_split(config.dataset)
    test = test.rows(some(len(test), config.examples)).to(device)
    network = load_model(model, device)
    units = features.Units(network, train.floats())
    questions = features.best_questions(features.values_of(units, train.floats()), train.labels, num_classes)
    found = features.unit_usefulness(units, questions, test, config.attack)
    counts = features.count(found, config.useful_from)
    context.write(UNITS_FILE, _unit_table(units, questions, found))
    return {
        "units": units.total,
        "constant": units.total - len(units.live),
        **counts._asdict(),
        "mean_rho": float(found.rho.double().mean()),
        "mean_gamma": float(found.gamma.double().mean()),
        "gradient_alignment": features.gradient_alignment(network, test, num_classes),
        "input_gradient": float(features.input_gradient_score(network, test).double().mean()),
        "n": len(test),
    }


def _unit_table(units: "Units", questions: "Questions", found: "Usefulness") -> bytes:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "unit": units.live,
        "class": questions.classes,
        "sign": questions.signs,
        "rho": found.rho,
        "gamma": found.gamma,
    }
    sink = io.BytesIO()
    pq.write_table(pa.table({name: values.cpu().numpy() for name, values in columns.items()}), sink)
    return sink.getvalue()
