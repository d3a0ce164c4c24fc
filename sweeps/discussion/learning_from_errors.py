"""Learning from errors: do a model's wrong labels teach another model the right ones?

Wallace 2019, "Learning from Incorrectly Labeled Data", a response to the paper.

If they do, learning from d_det is one case of distillation, and not evidence of features. For every seed, the sweep
trains a weak model for two epochs and keeps the training images that it misclassifies, with the labels that it gives
them; a student sees these alone, and no right label. Its control has the same images and as many labels of each kind
for each class, but on random images of the class: it knows which classes the weak model confuses, and nothing else.

Then Wallace's toy: 32 random points of the unit square with random labels. A network that has fitted them is attacked
(linf .12), and another learns the adversarial points with the flipped labels alone: how many of the 32 is it right on?
Chance is 16. Its other control moves the same points by eps each way at random.

With `--carrier`, a model of the dataset labels other images, and a student sees these alone (Wallace: MNIST's labels
through Fashion-MNIST's images). Its control has the same labels, shuffled.

Primary contrast, fixed before the first run: accuracy on the untouched test set of the student of the errors - of the
student of the shuffled errors. The toy's contrast is fixed to 20 draws. Cost: three minutes on two CPU cores.

    python sweeps/discussion/learning_from_errors.py
    python sweeps/discussion/learning_from_errors.py --preset smoke
    python sweeps/discussion/learning_from_errors.py --carrier fashion-mnist[:10000]
    python sweeps/discussion/learning_from_errors.py --preset cifar10 --plan
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from cyclopts import Parameter

from nrf_ray.cli import sweep_main
from nrf_ray.data.catalogue import DatasetInfo, dataset_named
from nrf_ray.data.published import planning_name
from nrf_ray.presets import Preset
from nrf_ray.stages.errors_of import ErrorsSpec, errors_of
from nrf_ray.stages.labelled_by import LabelledSpec, labelled_by
from nrf_ray.stages.wrong_points import WrongPointsSpec, wrong_points
from nrf_ray.sweep.axes import seeds_to_decide
from nrf_ray.sweep.flags import Flags, Options
from nrf_ray.sweep.grid import Axes, Grid
from nrf_ray.sweep.models_and_sets import trained
from nrf_ray.sweep.students import shuffled_labels, taught_by
from nrf_ray.sweep.sweep import Sweep, over_datasets
from nrf_ray.sweep.table import Row
from nrf_ray.tables.debate import Contrast, debate_row
from nrf_ray.tables.trained_models import result_row

NAME = "learning_from_errors"
ERRORS = Contrast(text="student of a weak model's errors - of the errors shuffled within each class", primary=True)
POINTS = Contrast(text="right from adversarial points alone - 16 of 32")
ASIDE = Contrast(text="right from adversarial points alone - from points moved at random")
CARRIED = Contrast(text="student of foreign images with a model's labels - with these labels shuffled")
DRAWS = 20
"""Draws of the toy."""
FEW_DRAWS = 2
"""The same with a preset of one seed, which only shows that everything runs."""
EPOCHS = 2
"""Epochs of the weak model, as in the article."""
BATCH = 32
"""Images of a batch of a student: the weak model's errors are few."""


def axes(preset: Preset) -> Axes:
    """Return the default axes: six seeds, and the architecture of the preset's sweep for Table 1."""
    return {"seeds": seeds_to_decide(preset.seeds), "archs": preset.nonrobust_archs}


@dataclass(frozen=True, kw_only=True)
class ErrorsGrid(Grid):
    """The axes of a grid, and images that carry labels."""

    carrier: str | None = None
    """Dataset whose images carry the labels of a model of another dataset; None for none."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ErrorsOptions(Options):
    """Flags of a sweep over errors. Lists are comma-separated; omitted flags take the preset's values."""

    carrier: str | None = None
    """Dataset whose images carry the labels of a model of --dataset, resized to its shape: fashion-mnist, cifar10,
    parquet:PATH, planted-image and so on, each also with [:N]. Without it, that experiment is left out."""

    def errors_grid(self) -> ErrorsGrid:
        """Return the axes, or raise ConfigError with the known names."""
        carrier = planning_name(self.carrier) if self.carrier and self.plan else self.carrier
        return ErrorsGrid(**vars(self.grid(axes)), carrier=carrier)


def learning_from_errors(grid: ErrorsGrid) -> Sweep:
    """Return the sweep over `grid`."""
    grid.refuse(
        NAME,
        storages="its images are the dataset's",
        attacks="it attacks points alone, with PGD",
        extra_tests="nonrobust_features tests on them",
        given_sources="its weak model is trained for two epochs",
        given_judges="no judge takes part",
        given_victims="it attacks no other model",
    )
    return over_datasets(NAME, grid, lambda _, dataset: _rows(grid, dataset))


def _rows(grid: ErrorsGrid, dataset: DatasetInfo) -> Iterator[Row]:
    preset = grid.preset
    for seed in grid.seeds:
        weak = trained(dataset, preset.source_arch, replace(preset.weak, epochs=EPOCHS), "weak", seed)
        yield result_row(NAME, dataset, weak)
        errors = errors_of(ErrorsSpec(dataset=dataset.ref), labeller=weak.train).named(f"errors of {weak.train.label}")
        swapped = shuffled_labels(errors, dataset, seed, within="class")
        for arch in grid.archs:
            recipe = replace(preset.student, batch_size=BATCH)
            sides = (taught_by(made, dataset, arch, recipe, seed) for made in (errors, swapped))
            claimed, control = ((side, "clean_accuracy") for side in sides)
            yield debate_row(NAME, dataset.ref.name, ERRORS, arch, seed, claimed=claimed, control=control)
        if grid.carrier:
            yield from _carried(grid, dataset, dataset_named(grid.carrier), seed)
    yield from _points(DRAWS if len(grid.seeds) > 1 else FEW_DRAWS)


def _carried(grid: ErrorsGrid, dataset: DatasetInfo, carrier: DatasetInfo, seed: int) -> Iterator[Row]:
    """Yield the rows of students that see a model's labels on the images of `carrier` alone."""
    preset = grid.preset
    model = trained(dataset, preset.source_arch, preset.source, "source", seed)
    yield result_row(NAME, dataset, model)
    spec = LabelledSpec(dataset=dataset.ref, carrier=carrier.ref)
    labelled = labelled_by(spec, labeller=model.train).named(f"{carrier.ref.name} labelled by {model.train.label}")
    swapped = shuffled_labels(labelled, dataset, seed)
    for arch in grid.archs:
        sides = (taught_by(made, dataset, arch, preset.student, seed) for made in (labelled, swapped))
        claimed, control = ((side, "clean_accuracy") for side in sides)
        told = replace(CARRIED, text=f"{CARRIED.text}, {carrier.ref.name}")
        yield debate_row(NAME, dataset.ref.name, told, arch, seed, claimed=claimed, control=control)


def _points(draws: int) -> Iterator[Row]:
    """Yield the rows of the toy."""
    for draw in range(draws):
        toy = wrong_points(WrongPointsSpec(seed=draw)).named(f"32 random points, draw {draw}")
        claimed, aside = ((toy, f"right_from_{name}") for name in ("adversarial", "random"))
        yield debate_row(NAME, "32 points", POINTS, "perceptron", draw, claimed=claimed, control=0.5)
        yield debate_row(NAME, "32 points", ASIDE, "perceptron", draw, claimed=claimed, control=aside)


FLAGS = Flags(options=ErrorsOptions, grid=ErrorsOptions.errors_grid)

if __name__ == "__main__":
    sweep_main(learning_from_errors, FLAGS)
