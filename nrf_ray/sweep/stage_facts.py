"""Values of the grid that a stage is about, for people who look at single stages: the configs of trials in Ray Tune."""

from collections.abc import Mapping
from typing import Any

from nrf_ray.constructions.registry import craft_of
from nrf_ray.constructions.spec import ORIGINAL
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.record import arch_of
from nrf_ray.graph.stage import Stage
from nrf_ray.sweep.sweep import Sweep

FACTS = ("kind", "role", "dataset", "construction", "norm", "epsilon", "arch", "training", "seed")
"""Names of the values; one that a stage does not have is None."""
SUBJECTS = ("model", "victim", "source", "data")
"""Inputs that a stage may be about, the first of them before the others."""
MEASURED = SUBJECTS[:2]
"""Inputs whose role a stage shares, as it measures them."""


def facts_of_stages(sweep: Sweep) -> dict[Key, dict[str, Any]]:
    """Return the values named in FACTS for every stage of `sweep`.

    Role and training are those of the model that a stage trains or measures. Norm and epsilon are those of the stage's
    own attack; without one, of the training's adversary; otherwise, of the constructed set that it is about.
    """
    roles = {row.facts["key"]: row.facts["role"] for row in sweep.rows if {"key", "role"} <= row.facts.keys()}
    found: dict[Key, dict[str, Any]] = {}
    for stage in sweep.stages():
        found[stage.key] = _facts(stage, roles, found)
    return found


def _facts(stage: Stage, roles: Mapping[Key, str], found: Mapping[Key, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the values of one stage; those of its inputs are in `found`."""
    config, inputs = stage.config, stage.inputs
    subject = next((found[inputs[name].key] for name in SUBJECTS if name in inputs), dict.fromkeys(FACTS))
    measured = next((found[inputs[name].key] for name in MEASURED if name in inputs), dict.fromkeys(FACTS))
    dataset, training = getattr(config, "dataset", None), getattr(config, "training", None)
    norm, epsilon = _ball(stage)
    trains = training is not None
    return {
        "kind": stage.kind.name,
        "role": roles.get(stage.key, measured["role"]),
        "dataset": str(getattr(dataset, "name", dataset)) if dataset is not None else subject["dataset"],
        "construction": getattr(config, "construction", subject["construction"] or (ORIGINAL if trains else None)),
        "norm": norm or subject["norm"],
        "epsilon": subject["epsilon"] if norm is None else epsilon,
        "arch": arch_of(stage) or subject["arch"],
        "training": training if trains else subject["training"],
        "seed": getattr(config, "seed", subject["seed"]),
    }


def _ball(stage: Stage) -> tuple[str | None, float | None]:
    """Return norm and radius of a stage's own attack, adversary or craft; (None, None) if it has none."""
    config = stage.config
    if hasattr(config, "craft"):
        return craft_of(config.craft).bound(config.craft)
    attack = getattr(config, "attack", None) or getattr(getattr(config, "recipe", None), "adversary", None)
    threat = getattr(attack, "threat", None) or getattr(config, "threat", None)
    return (None, None) if threat is None else (threat.norm, threat.eps)
