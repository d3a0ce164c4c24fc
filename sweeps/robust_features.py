"""Robust and non-robust features separated: D_R and D_NR (Ilyas et al. 2019, section 3.1, Figure 2, Tables 7 and 8).

For every seed, the sweep trains a standard and an adversarially trained source. Every training image is matched in the
penultimate layer of each source, starting from another image or from noise: d_robust has the features that the robust
source uses and nothing else, d_nonrobust has those that the standard source uses and nothing else. Students trained on
either set in the standard way should be accurate on the untouched test set, but robust only after d_robust. Table 8:
the first student of d_robust is also attacked on its own training images and on test images that were matched in the
same way.

    python sweeps/robust_features.py                     # digits: about three minutes on two CPU cores
    python sweeps/robust_features.py --plan
    python sweeps/robust_features.py --preset cifar10 --gpus-per-trial 1 --plan     # the paper's own settings, for GPUs
"""

from collections.abc import Iterator
from itertools import product

from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.cli import sweep_main
from nrf_ray.constructions.spec import construction_named, matched
from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.presets import Preset
from nrf_ray.sweep.flags import of_models
from nrf_ray.sweep.given_models import judge_of, source_of, victims_of
from nrf_ray.sweep.grid import Axes, Grid
from nrf_ray.sweep.models_and_sets import Model, constructed, crafted_by, source_for, trained
from nrf_ray.sweep.sweep import Sweep, over_datasets
from nrf_ray.sweep.table import Row
from nrf_ray.tables.constructed_sets import dataset_row
from nrf_ray.tables.robustness import robustness_row, robustness_rows
from nrf_ray.tables.trained_models import result_row

NAME = "robust_features"


def axes(preset: Preset) -> Axes:
    """Return the default axes: epsilons are the radii of the attacks on the models."""
    return {"constructions": matched(), "archs": preset.matched_archs, "epsilons": preset.radii}


def robust_features(grid: Grid) -> Sweep:
    """Return the sweep over `grid`."""
    grid.allow_constructions(NAME, matched())
    grid.refuse(NAME, extra_tests="nonrobust_features tests on them")
    return over_datasets(NAME, grid, _rows)


def _rows(grid: Grid, dataset: DatasetInfo) -> Iterator[Row]:
    preset = grid.preset
    judge = judge_of(grid, dataset)
    yield from _measured(grid, dataset, judge)
    for seed in grid.seeds:
        standard = source_of(grid, dataset, preset.matching_arch, preset.matching_source, seed)
        robust = source_of(grid, dataset, preset.matching_arch, preset.matching_robust_source, seed)
        (second, *others) = victims_of(grid, dataset, [preset.matching_arch], preset.matching_source, seed)
        for model in (standard, robust, second, *others):
            yield from _measured(grid, dataset, model, standard if model is second else second)
        for name in grid.constructions:
            source = source_for(construction_named(name), standard, robust)
            for start, storage in product(preset.starts, grid.storages):
                craft = crafted_by(preset, construction_named(name), None, start)
                made = constructed(dataset, name, craft, source, seed, storage=storage)
                yield dataset_row(NAME, dataset, made, source=standard, second=second, judge=judge)
                students = [
                    trained(dataset, arch, preset.matched_student, "student", seed, made) for arch in grid.archs
                ]
                for student in students:
                    yield from _measured(grid, dataset, student, second)
                if source is robust and start == "image":
                    of_tests = constructed(dataset, name, craft, source, seed, storage=storage, split="test")
                    for own in (made, of_tests):
                        threat = _threats(grid)[0]
                        yield robustness_row(NAME, dataset, students[0], threat, preset, tested_on=own)


def _measured(grid: Grid, dataset: DatasetInfo, model: Model, other: Model | None = None) -> Iterator[Row]:
    """Yield the rows of one model: clean, and under the attack of every radius."""
    yield result_row(NAME, dataset, model)
    for threat in _threats(grid):
        yield from robustness_rows(NAME, grid, dataset, model, threat, other=other)


def _threats(grid: Grid) -> list[ThreatModel]:
    return [ThreatModel(norm=norm, eps=eps) for norm in grid.norms for eps in grid.epsilons]


FLAGS = of_models(axes)

if __name__ == "__main__":
    sweep_main(robust_features, FLAGS)
