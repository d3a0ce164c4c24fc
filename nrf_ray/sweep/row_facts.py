"""Values that the rows of several tables share: the model, how its training set was made, and a Wilson interval."""

from collections.abc import Mapping
from typing import Any

from nrf_ray.constructions.spec import ORIGINAL
from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.sweep.models_and_sets import ConstructedSet, Model


def model_facts(sweep: str, dataset: DatasetInfo, model: Model, of_ball: str = "") -> dict[str, Any]:
    """Return the facts that say which model a row is about; for `of_ball` see `origin`."""
    adversary, threat = model.adversary, model.threat
    return {
        "sweep": sweep,
        "dataset": dataset.ref.name,
        **origin(model.made_from, of_ball),
        "student_arch": model.arch,
        "role": model.role,
        "seed": model.seed,
        "key": model.train.key,
        "training": model.training,
        "mode": model.mode,
        "adversary": adversary.name if adversary else None,
        "adversary_norm": threat.norm if threat else None,
        "adversary_epsilon": threat.eps if threat else None,
        "model": model.name,
    }


def origin(made: ConstructedSet | None, of_ball: str = "") -> dict[str, Any]:
    """Return the facts that say how a training set was made; for the original data, all but the name are null.

    `of_ball` is a prefix of the column names norm and epsilon, for rows that also have an attack's norm and epsilon.
    """
    source = made.source if made else None
    norm, eps = made.bound if made else (None, None)
    threat = source.threat if source else None
    return {
        "construction": made.construction.name if made else ORIGINAL,
        f"{of_ball}norm": norm,
        f"{of_ball}epsilon": eps,
        "start": made.start if made else None,
        "craft_mode": made.mode if made else None,
        "source_arch": source.arch if source else None,
        "source_training": source.training if source else None,
        "source_eps": threat.eps if threat else None,
        "source_model": source.name if source else None,
        "storage": made.construct.config.storage if made else None,
    }


def wilson(share: float, n: int) -> Mapping[str, Any]:
    """Return the 95% Wilson interval of a share of n examples as ci_low and ci_high."""
    from nrf_ray.statistics import wilson_interval

    interval = wilson_interval(share, n)
    return {"ci_low": interval.low, "ci_high": interval.high}
