"""Recipe search: 24 recipes for students on each constructed set, and the recipe that each selection rule chooses.

Ilyas et al. 2019, C.2, Table 3: learning rate 0.1, 0.05 or 0.01; batches of 128 or 256; learning rate dropped to a
tenth or not; augmentation or none. The paper does not state how the best recipes were chosen. Here a tenth of the
examples is held out, and three rules are reported: the best accuracy on held-out constructed examples (labels t), on
their clean originals (labels y), and on the test set, which is an oracle and not a result.

Every training runs to its last epoch: on d_rand the accuracy jumps late (Figure 10), and a scheduler that stops bad
trials early would stop the best.

    python sweeps/recipe_search.py                       # digits, d_rand and d_det: three minutes on two CPU cores
    python sweeps/recipe_search.py --preset cifar10 --gpus-per-trial 1 --plan
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.cli import sweep_main
from nrf_ray.constructions.spec import construction_named, with_control
from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.errors import ConfigError
from nrf_ray.presets import Preset
from nrf_ray.sweep.flags import of_models
from nrf_ray.sweep.given_models import source_of
from nrf_ray.sweep.grid import Axes, Grid
from nrf_ray.sweep.models_and_sets import constructed, crafted_by, trained
from nrf_ray.sweep.sweep import Sweep, over_datasets
from nrf_ray.sweep.table import Row
from nrf_ray.tables.recipe_search import recipe_row
from nrf_ray.training.recipes import Augmentation, Recipe, StepSchedule

NAME = "recipe_search"
HOLDOUT = 0.1
LEARNING_RATES, BATCH_SIZES = (0.1, 0.05, 0.01), (128, 256)


def axes(preset: Preset) -> Axes:
    """Return the default axes: the paper's two sets at the largest radius, one architecture."""
    return {"constructions": ("d_rand", "d_det"), "archs": preset.nonrobust_archs, "epsilons": preset.epsilons[-1:]}


def recipe_search(grid: Grid) -> Sweep:
    """Return the sweep over `grid`."""
    grid.allow_constructions(NAME, with_control())
    grid.refuse(
        NAME,
        storages="its sets are stored as uint8",
        attacks="it attacks no student",
        extra_tests="recipes are compared on the test set alone",
        given_judges="no judge looks at its sets",
        given_victims="it attacks no other model",
    )
    if grid.preset.adversary:
        raise ConfigError(f"{NAME} does not accept --adversary, because it trains no robust model; omit the flag")
    return over_datasets(NAME, grid, _rows)


def recipes(preset: Preset) -> list[Recipe]:
    """Return the 24 recipes of Table 3, with the epochs of the preset's students."""
    base = preset.student
    schedules = (StepSchedule(drop_every=max(1, base.epochs // 3)), StepSchedule())
    views = (preset.search_views, Augmentation())
    return [
        replace(base, lr=lr, batch_size=batch_size, schedule=schedule, augmentation=augmentation)
        for lr, batch_size, schedule, augmentation in product(LEARNING_RATES, BATCH_SIZES, schedules, views)
    ]


def _rows(grid: Grid, dataset: DatasetInfo) -> Iterator[Row]:
    preset = grid.preset
    for seed, norm, eps, name in product(grid.seeds, grid.norms, grid.epsilons, grid.constructions):
        source = source_of(grid, dataset, preset.source_arch, preset.source, seed, of_any_kind=True)
        craft = crafted_by(preset, construction_named(name), ThreatModel(norm=norm, eps=eps))
        made = constructed(dataset, name, craft, source, seed)
        for arch, recipe in product(grid.archs, recipes(preset)):
            student = trained(dataset, arch, recipe, "student", seed, made, holdout=HOLDOUT, how=_how(recipe))
            yield recipe_row(NAME, dataset, student, made)


def _how(recipe: Recipe) -> str:
    """Return the settings in which a recipe differs from the others, as text."""
    drop = "drop" if recipe.schedule != StepSchedule() else "no drop"
    views = "augmented" if recipe.augmentation != Augmentation() else "as they are"
    return f"lr {recipe.lr:g}, batch {recipe.batch_size}, {drop}, {views}"


FLAGS = of_models(axes)

if __name__ == "__main__":
    sweep_main(recipe_search, FLAGS)
