"""Non-robust features suffice: D_rand, D_det, D_other (Ilyas et al. 2019, section 3.2, Tables 1, 9, 10, D.6, D.7).

For every seed, the sweep trains a standard and an adversarially trained source. From each source it constructs training
sets whose new labels are predicted only by the source's non-robust features. Students are tested on the untouched test
set, on the same images relabelled to y + 1 (Table 10), and on extra test sets if their files are present (D.7:
CIFAR-10.1). Each set has its leakage-only control. In addition, d_rand has an ablation without the images that keep
their label, and d_det has a control whose clean images a one-epoch model chose. A robust judge is tested on every set.

    python sweeps/nonrobust_features.py                  # digits: about seven minutes on two CPU cores
    python sweeps/nonrobust_features.py --preset fashion
    python sweeps/nonrobust_features.py --preset cifar10-small --dataset 'parquet:cifar10-jpeg.parquet[:10000]'
    python sweeps/nonrobust_features.py --preset cifar10 --gpus-per-trial 1 --plan    # the paper's own settings
"""

from collections.abc import Iterator
from itertools import product

from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.cli import sweep_main
from nrf_ray.constructions.spec import CONSTRUCTIONS, construction_named
from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.presets import Preset
from nrf_ray.sweep.flags import of_models
from nrf_ray.sweep.given_models import judge_of, kinds_of_sources, source_of, victims_of
from nrf_ray.sweep.grid import Axes, Grid
from nrf_ray.sweep.models_and_sets import constructed, crafted_by, trained
from nrf_ray.sweep.sweep import Sweep, over_datasets
from nrf_ray.sweep.table import Row
from nrf_ray.tables.constructed_sets import dataset_row
from nrf_ray.tables.robustness import robustness_rows
from nrf_ray.tables.trained_models import extra_rows, result_row

NAME = "nonrobust_features"


def axes(preset: Preset) -> Axes:
    """Return the default axes: one architecture, the source's, and every construction of this sweep."""
    return {"constructions": preset.nonrobust_constructions, "archs": preset.nonrobust_archs}


def nonrobust_features(grid: Grid) -> Sweep:
    """Return the sweep over `grid`."""
    grid.allow_constructions(NAME, CONSTRUCTIONS.where(lambda made: made.features != "matched"))
    return over_datasets(NAME, grid, _rows)


def _rows(grid: Grid, dataset: DatasetInfo) -> Iterator[Row]:
    preset = grid.preset
    threats = [ThreatModel(norm=norm, eps=eps) for norm in grid.norms for eps in grid.epsilons]
    judge = judge_of(grid, dataset)
    yield result_row(NAME, dataset, judge)
    for threat in threats:
        yield from robustness_rows(NAME, grid, dataset, judge, threat)
    for seed in grid.seeds:
        recipes = {"standard": preset.source, "adversarial": preset.robust_source}
        kinds = kinds_of_sources(grid, dataset, preset.sources)
        sources = [source_of(grid, dataset, preset.source_arch, recipes[kind], seed) for kind in kinds]
        (second, *others) = victims_of(grid, dataset, [preset.source_arch], preset.victim, seed)
        weak = trained(dataset, preset.source_arch, preset.weak, "weak", seed)
        for model in (*sources, second, *others):
            yield result_row(NAME, dataset, model)
            yield from extra_rows(NAME, grid, dataset, model)
            other = sources[0] if model is second else second
            for threat in threats:
                yield from robustness_rows(NAME, grid, dataset, model, threat, other=other)
        for threat, name, storage in product(threats, grid.constructions, grid.storages):
            construction = construction_named(name)
            for source in sources if construction.features == "adversarial" else [weak]:
                craft = crafted_by(preset, construction, threat)
                made = constructed(dataset, name, craft, source, seed, storage=storage)
                yield dataset_row(NAME, dataset, made, source=sources[0], second=second, judge=judge)
                for arch in grid.archs_for(name):
                    student = trained(dataset, arch, preset.student_of(name), "student", seed, made)
                    yield result_row(NAME, dataset, student)
                    yield from extra_rows(NAME, grid, dataset, student)
                    yield from robustness_rows(NAME, grid, dataset, student, threat, other=second)


FLAGS = of_models(axes)

if __name__ == "__main__":
    sweep_main(nonrobust_features, FLAGS)
