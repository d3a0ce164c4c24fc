"""Robust feature leakage (Goh 2019): accuracy that a set teaches a linear classifier through robust features alone."""

import math
from dataclasses import dataclass

from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.data.catalogue import DatasetRef, info_of
from nrf_ray.errors import ConfigError
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.graph.store import Artifact
from nrf_ray.models.catalogue import architecture_named
from nrf_ray.stages.costs import OVERHEAD, fit_seconds, predict_seconds, read_seconds, rows_of

CERTIFIED = 0.8
"""Least share of test points on which the classifier must be constant in the ball (Goh 2019's specification)."""


@dataclass(frozen=True, kw_only=True)
class LinearLeakageSpec:
    """Leakage through the logits of a linear classifier that is trained adversarially on the original data."""

    dataset: DatasetRef
    """Dataset on whose training split the classifier is trained; everything is tested on its test split."""
    train_threat: ThreatModel
    """Ball of the classifier's adversarial training. If it is wider than `ball`, more points can be certified."""
    ball: ThreatModel
    """Ball of the certificates and of gamma."""

    def __post_init__(self) -> None:
        if self.train_threat.norm != self.ball.norm:
            raise ConfigError(
                f"the linear classifier is trained in {self.train_threat.norm} and certified in {self.ball.norm}; give "
                "both balls the same norm"
            )


@dataclass(frozen=True, kw_only=True)
class NetworkLeakageSpec:
    """Leakage through the penultimate units of an adversarially trained network."""

    dataset: DatasetRef
    """Dataset on whose training split the units are scaled; the result is tested on its test split."""


def _linear_cost(handle: Stage) -> float:
    info, dataset = info_of(handle.config.dataset), handle.config.dataset
    robust = fit_seconds(info.num_train, math.prod(info.shape), info.num_classes)
    taught = _taught_rows(handle)
    return OVERHEAD + robust + read_seconds(dataset, taught) + fit_seconds(taught, info.num_classes, info.num_classes)


def _network_cost(handle: Stage) -> float:
    info, model, taught = info_of(handle.config.dataset), handle.inputs["model"], _taught_rows(handle)
    shown = predict_seconds(handle, model, images=info.num_train + taught + 2 * info.num_test)
    fitted = fit_seconds(taught, architecture_named(model.config.arch).units, info.num_classes)
    return OVERHEAD + read_seconds(handle.config.dataset, taught) + shown + fitted


def _taught_rows(handle: Stage) -> int:
    """Return the number of rows that the classifier learns from: those of a constructed set, or of the dataset."""
    data = handle.inputs.get("data")
    return info_of(handle.config.dataset).num_train if data is None else rows_of(data)


@stage(version=2, cost=_linear_cost)
def linear_leakage(config: LinearLeakageSpec, context: Context, *, data: Artifact | None = None) -> Metrics:
    """Measure accuracy on the test set, learnt from `data` (or from the original data) through k linear features.

    The features meet Goh's specification (`meets_spec`) if at least .8 of the test points are certified to keep their
    label within the ball, and every feature has gamma > 0 within the ball for its own class.
    """
    from nrf_ray.constructions.stored_set import constructed_set
    from nrf_ray.data.load import test_split, train_split
    from nrf_ray.engine.runtime import prepare
    from nrf_ray.features import linear

    device = prepare(context.stage.resources)
    num_classes = info_of(config.dataset).num_classes
    norm, eps = config.ball.norm, config.ball.eps
    original, test = train_split(config.dataset).to(device), test_split(config.dataset).to(device)
    taught = original if data is None else constructed_set(data).to(device)
    centre = original.floats().flatten(1).mean(dim=0)
    points, tested = original.floats().flatten(1) - centre, test.floats().flatten(1) - centre
    robust = linear.fit_linear(points, original.labels, num_classes, norm=norm, eps=config.train_threat.eps)
    gamma = linear.class_usefulness(robust, tested, test.labels, norm=norm, eps=eps).gamma
    certified = float(linear.certified(robust, tested, norm=norm, eps=eps).double().mean())
    shown = robust.logits(taught.floats().flatten(1) - centre)
    return {
        "accuracy": linear.leakage(shown, taught.labels, robust.logits(tested), test.labels, num_classes),
        "source_accuracy": robust.accuracy(tested, test.labels),
        "certified": certified,
        "lowest_gamma": float(gamma.min()),
        "meets_spec": certified >= CERTIFIED and float(gamma.min()) > 0,
        "units": num_classes,
        "n": len(test),
    }


@stage(version=1, cost=_network_cost)
def network_leakage(
    config: NetworkLeakageSpec, context: Context, *, model: Artifact, data: Artifact | None = None
) -> Metrics:
    """Measure accuracy on the test set, learnt from `data` (or from the original data) through a network's units."""
    from nrf_ray.constructions.stored_set import constructed_set
    from nrf_ray.data.load import test_split, train_split
    from nrf_ray.engine.predict import accuracy
    from nrf_ray.engine.runtime import prepare
    from nrf_ray.features import linear
    from nrf_ray.features import units as features
    from nrf_ray.stages.weights import load_model

    device = prepare(context.stage.resources)
    num_classes = info_of(config.dataset).num_classes
    original, test = train_split(config.dataset).to(device), test_split(config.dataset).to(device)
    taught = original if data is None else constructed_set(data).to(device)
    network = load_model(model, device)
    units = features.Units(network, original.floats())
    shown, tested = (features.values_of(units, images.floats()) for images in (taught, test))
    return {
        "accuracy": linear.leakage(shown, taught.labels, tested, test.labels, num_classes),
        "source_accuracy": accuracy(network, test.images, test.labels),
        "units": len(units.live),
        "n": len(test),
    }
