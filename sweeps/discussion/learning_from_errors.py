"""Learning from errors: do a model's wrong labels teach another model the right ones?

Wallace 2019, "Learning from Incorrectly Labeled Data", a response to the paper.

If they do, learning from d_det is one case of distillation, and not evidence of features. For every seed, the sweep
trains a weak model for one epoch and keeps the training images that it misclassifies, with the labels that it gives
them; a student sees these alone, and no right label. Its control has the same images and as many labels of each kind
for each class, but on random images of the class: it knows which classes the weak model confuses, and nothing else.

Then Wallace's toy: 32 random points of the unit square with random labels. A network that has fitted them is attacked
(linf .12), and another learns the adversarial points with the flipped labels alone: how many of the 32 is it right on?
Chance is 16. Its other control moves the same points by eps each way at random.

Primary contrast, fixed before the first run: accuracy on the untouched test set of the student of the errors - of the
student of the shuffled errors. The toy's contrast is fixed to 20 draws. Cost: three minutes on two CPU cores.

    python sweeps/discussion/learning_from_errors.py
    python sweeps/discussion/learning_from_errors.py --preset smoke
    python sweeps/discussion/learning_from_errors.py --preset cifar10 --plan
"""

from collections.abc import Iterator
from dataclasses import replace

from nrf_ray.cli import sweep_main
from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.presets import Preset
from nrf_ray.seeding import derive_seed
from nrf_ray.stages.errors_of import ErrorsSpec, errors_of
from nrf_ray.stages.wrong_points import WrongPointsSpec, wrong_points
from nrf_ray.sweep.axes import seeds_to_decide
from nrf_ray.sweep.flags import of_models
from nrf_ray.sweep.grid import Axes, Grid
from nrf_ray.sweep.models_and_sets import trained
from nrf_ray.sweep.students import taught_by
from nrf_ray.sweep.sweep import Sweep, over_datasets
from nrf_ray.sweep.table import Row
from nrf_ray.tables.debate import Contrast, debate_row
from nrf_ray.tables.trained_models import result_row

NAME = "learning_from_errors"
ERRORS = Contrast(text="student of a weak model's errors - of the errors shuffled within each class", primary=True)
POINTS = Contrast(text="right from adversarial points alone - 16 of 32")
ASIDE = Contrast(text="right from adversarial points alone - from points moved at random")
DRAWS = 20
"""Draws of the toy."""
FEW_DRAWS = 2
"""The same with a preset of one seed, which only shows that everything runs."""
BATCH = 32
"""Images of a batch of a student: the weak model's errors are few."""


def axes(preset: Preset) -> Axes:
    """Return the default axes: six seeds, and the architecture of the preset's sweep for Table 1."""
    return {"seeds": seeds_to_decide(preset.seeds), "archs": preset.nonrobust_archs}


def learning_from_errors(grid: Grid) -> Sweep:
    """Return the sweep over `grid`."""
    grid.refuse(
        NAME,
        storages="its images are the dataset's",
        attacks="it attacks points alone, with PGD",
        extra_tests="nonrobust_features tests on them",
        given_sources="its weak model is trained for one epoch",
        given_judges="no judge takes part",
        given_victims="it attacks no other model",
    )
    return over_datasets(NAME, grid, _rows)


def _rows(grid: Grid, dataset: DatasetInfo) -> Iterator[Row]:
    preset = grid.preset
    for seed in grid.seeds:
        weak = trained(dataset, preset.source_arch, preset.weak, "weak", seed)
        yield result_row(NAME, dataset, weak)
        spec = ErrorsSpec(dataset=dataset.ref, seed=derive_seed(seed, "errors"))
        errors = errors_of(spec, labeller=weak.train).named(f"errors of {weak.train.label}")
        shuffled = errors_of(replace(spec, shuffled=True), labeller=weak.train).named(f"shuffled {errors.label}")
        for arch in grid.archs:
            recipe = replace(preset.student, batch_size=BATCH)
            sides = (taught_by(made, dataset, arch, recipe, seed) for made in (errors, shuffled))
            claimed, control = ((side, "clean_accuracy") for side in sides)
            yield debate_row(NAME, dataset.ref.name, ERRORS, arch, seed, claimed=claimed, control=control)
    for draw in range(DRAWS if len(grid.seeds) > 1 else FEW_DRAWS):
        toy = wrong_points(WrongPointsSpec(seed=draw)).named(f"32 random points, draw {draw}")
        claimed, aside = ((toy, f"right_from_{name}") for name in ("adversarial", "random"))
        yield debate_row(NAME, "32 points", POINTS, "perceptron", draw, claimed=claimed, control=0.5)
        yield debate_row(NAME, "32 points", ASIDE, "perceptron", draw, claimed=claimed, control=aside)


FLAGS = of_models(axes)

if __name__ == "__main__":
    sweep_main(learning_from_errors, FLAGS)
