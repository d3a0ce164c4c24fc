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
SETS = ("data", "model", "victim", "source")
"""Inputs whose dataset and construction a stage is about, the first of them before the others."""
MODELS = ("model", "victim", "source")
"""Inputs whose architecture and training a stage is about."""
MEASURED = ("model", "victim")
"""Inputs whose role and seed a stage shares, as it measures them."""
BALLS = ("adversarial", *SETS)
"""Inputs whose norm and radius a stage is about if it has none."""

Facts = dict[str, Any]


def facts_of_stages(sweep: Sweep) -> dict[Key, Facts]:
    """Return the values named in FACTS for every stage of `sweep`.

    Role and training are those of the model that a stage trains or measures; the seed is that of the replicate. Norm
    and epsilon are those of the stage's own attack; without one, of its adversary; otherwise, of the constructed set or
    the attack that it is about.
    """
    by_row: dict[Key, Mapping[str, Any]] = {}
    for row in sweep.rows:
        by_row.setdefault(row.facts.get("key", Key("")), row.facts)
    for row in sweep.rows:
        for stage in row.stages():
            by_row.setdefault(stage.key, row.facts)
    found: dict[Key, Facts] = {}
    for stage in sweep.stages():
        found[stage.key] = _facts(stage, by_row.get(stage.key, {}), found)
    return found


def _facts(stage: Stage, row: Mapping[str, Any], found: Mapping[Key, Facts]) -> Facts:
    """Return the values of one stage; `row` has those of the first row that it is in, `found` those of its inputs."""
    nothing: Facts = dict.fromkeys(FACTS)

    def first(names: tuple[str, ...]) -> Facts:
        return next((found[stage.inputs[name].key] for name in names if name in stage.inputs), nothing)

    config = stage.config
    dataset, training = getattr(config, "dataset", None), getattr(config, "training", None)
    trains, measured, about = training is not None, first(MEASURED), first(SETS)
    norm, epsilon = _ball(stage)
    if norm is None:
        norm, epsilon = first(BALLS)["norm"], first(BALLS)["epsilon"]
    seeds = (row.get("seed"), measured["seed"], about["seed"], getattr(config, "seed", None))
    return {
        "kind": stage.kind.name,
        "role": (row.get("role") if trains else None) or measured["role"],
        "dataset": about["dataset"] if dataset is None else str(getattr(dataset, "name", dataset)),
        "construction": getattr(config, "construction", about["construction"] or (ORIGINAL if trains else None)),
        "norm": norm,
        "epsilon": epsilon,
        "arch": arch_of(stage) or first(MODELS)["arch"],
        "training": training if trains else first(MODELS)["training"],
        "seed": next((seed for seed in seeds if seed is not None), None),
    }


def _ball(stage: Stage) -> tuple[str | None, float | None]:
    """Return norm and radius of a stage's own attack, adversary or craft; (None, None) if it has none."""
    config = stage.config
    if hasattr(config, "craft"):
        return craft_of(config.craft).bound(config.craft)
    attack = getattr(config, "attack", None) or getattr(getattr(config, "recipe", None), "adversary", None)
    threat = getattr(attack, "threat", None) or getattr(config, "threat", None)
    return (None, None) if threat is None else (threat.norm, threat.eps)
