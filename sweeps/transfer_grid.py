"""The transfer grid: do models learn from non-robust features, and do these features explain transfer?

Ilyas et al. 2019, sections 3.2 and 3.3, Tables 1 and 10, Figures 3 and 13.

For every seed, the sweep trains a standard model (the source) and constructs training sets from it whose new labels
are predicted only by the source's non-robust features (d_rand, d_det, d_other). Students of five architectures are
trained on each set and tested on the untouched test set. Each set has its leakage-only control (leak_...), whose labels
are predicted by a meaningless pattern. Standard models of the same architectures (victims) are tested on the source's
adversarial test images: an architecture that learns more from d_det should be fooled more often (Figure 3). A robust
judge is tested on every set.

README has the results on digits, with n and spread. Cost: about four minutes on two CPU cores.

    python sweeps/transfer_grid.py                       # the whole grid
    python sweeps/transfer_grid.py --plan                # what would run, why, and what it costs
    python sweeps/transfer_grid.py --preset smoke        # half a minute: does everything run here?
    python sweeps/transfer_grid.py --arch resnet_s,vgg_s --epsilon 0.5,1.0 --seeds 0,1,2,3
"""

from collections.abc import Iterator
from itertools import product

from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.cli import sweep_main
from nrf_ray.constructions.spec import CONSTRUCTIONS, construction_named
from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.sweep.flags import of_models
from nrf_ray.sweep.given_models import judge_of, source_of, victims_of
from nrf_ray.sweep.grid import Grid
from nrf_ray.sweep.models_and_sets import attacked, constructed, crafted_by, trained
from nrf_ray.sweep.sweep import Sweep, over_datasets
from nrf_ray.sweep.table import Row
from nrf_ray.tables.constructed_sets import dataset_row
from nrf_ray.tables.robustness import robustness_rows
from nrf_ray.tables.trained_models import result_row
from nrf_ray.tables.transfer import transfer_row

NAME = "transfer_grid"


def transfer_grid(grid: Grid) -> Sweep:
    """Return the sweep over `grid`."""
    known = CONSTRUCTIONS.where(lambda made: made.features != "matched" and made.spares != "weak")
    grid.allow_constructions(NAME, known)
    grid.refuse(NAME, extra_tests="nonrobust_features tests on them")
    return over_datasets(NAME, grid, _rows)


def _rows(grid: Grid, dataset: DatasetInfo) -> Iterator[Row]:
    preset = grid.preset
    threats = [ThreatModel(norm=norm, eps=eps) for norm in grid.norms for eps in grid.epsilons]
    judge = judge_of(grid, dataset)
    yield result_row(NAME, dataset, judge)
    for threat in threats:
        yield from robustness_rows(NAME, grid, dataset, judge, threat)
    for seed in grid.seeds:
        source = source_of(grid, dataset, preset.source_arch, preset.source, seed, of_any_kind=True)
        victims = victims_of(grid, dataset, grid.archs, preset.victim, seed)
        (second, *_) = victims_of(grid, dataset, [preset.source_arch], preset.victim, seed)
        for model in (source, *victims):
            yield result_row(NAME, dataset, model)
            for threat in threats:
                yield from robustness_rows(NAME, grid, dataset, model, threat, other=second)
        for threat in threats:
            for targeted in (False, True):
                adversarial = attacked(dataset, source, threat, preset, targeted=targeted)
                yield from (transfer_row(NAME, dataset, source, victim, adversarial) for victim in victims)
            for name, storage in product(grid.constructions, grid.storages):
                craft = crafted_by(preset, construction_named(name), threat)
                made = constructed(dataset, name, craft, source, seed, storage=storage)
                yield dataset_row(NAME, dataset, made, source=source, second=second, judge=judge)
                for arch in grid.archs_for(name):
                    student = trained(dataset, arch, preset.student_of(name), "student", seed, made)
                    yield result_row(NAME, dataset, student)


FLAGS = of_models()

if __name__ == "__main__":
    sweep_main(transfer_grid, FLAGS)
