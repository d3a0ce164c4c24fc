"""Sets that stages other than `construct` write: the balls of their perturbations, and what students learn of them."""

import math
from typing import Literal

from nrf_ray.attacks.specs import Attack, pgd_attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.graph.stage import Stage
from nrf_ray.seeding import derive_seed
from nrf_ray.stages.evaluate import EvaluateSpec, evaluate
from nrf_ray.stages.shuffled import ShuffledSpec, shuffled
from nrf_ray.stages.train import TrainSpec, train
from nrf_ray.sweep.grid import Grid
from nrf_ray.training.recipes import Recipe


def taught_by(made: Stage, dataset: DatasetInfo, arch: str, recipe: Recipe, seed: int) -> Stage:
    """Return the `evaluate` stage of a student of the set `made`, on the test split of `dataset`.

    Students of one seed and architecture have the same initial weights, whatever set they learn from.
    """
    spec = TrainSpec(arch=arch, dataset=dataset.ref, recipe=recipe, seed=derive_seed(seed, "student"))
    student = train(spec, data=made).named(f"student {arch} on {made.label}")
    return evaluate(EvaluateSpec(dataset=dataset.ref), model=student).named(f"accuracy: {student.label}")


def balls_of(grid: Grid, dataset: DatasetInfo) -> list[ThreatModel]:
    """Return the balls of the grid and, for each in l2, the linf ball whose corners are as far from its centre."""
    balls = [ThreatModel(norm=norm, eps=eps) for norm in grid.norms for eps in grid.epsilons]
    pixels = math.prod(dataset.shape)
    corners = [ThreatModel(norm="linf", eps=ball.eps / math.sqrt(pixels)) for ball in balls if ball.norm == "l2"]
    return [*balls, *(ball for ball in corners if ball not in balls)]


def crafting(grid: Grid, threat: ThreatModel) -> Attack:
    """Return the targeted PGD within `threat` that moves the images of a set, with the preset's number of steps."""
    return pgd_attack(threat.norm, threat.eps, steps=grid.preset.craft_steps, targeted=True, mode=grid.preset.mode)


def shuffled_labels(made: Stage, dataset: DatasetInfo, seed: int, *, within: Literal["all", "class"] = "all") -> Stage:
    """Return the control of the set `made` whose images exchange labels, all or only `within` each true class."""
    spec = ShuffledSpec(dataset=dataset.ref, within=within, seed=derive_seed(seed, "shuffled"))
    return shuffled(spec, data=made).named(f"{made.label}, labels shuffled")
