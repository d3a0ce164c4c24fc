"""Just bugs: are there adversarial examples that are no features, and does the paper's method tell them apart?

Nakkiran 2019, "Adversarial Examples are Just Bugs, Too", a response to the paper.

For every seed, the sweep moves training images to t = y + 1 in two ways: by PGD on a source, and by PGD that at the
same time holds four other models to y (Nakkiran has ten). If the second images are bugs of one model, they do not
transfer, and a student of them learns nothing of the test set. Both are tried on a model that took no part, and a
robust judge is asked for y and t.

Poisoning: a student of images moved to y - 1, with their *right* label y, should predict y + 1 for untouched images;
its control moves images to any wrong class.

Squares: plain images that a linear rule tells apart within linf .9, with noise, a tenth of them mislabelled. A network
that fits the wrong labels should be fooled within linf .01; its control is the same network without wrong labels.

Primary contrast, fixed before the first run: accuracy on the untouched test set of the student of PGD - of the student
of disentangled PGD, at the last l2 radius of the preset. The same in linf (the same length in each pixel at once), the
transfer, poisoning and squares are reported beside it. Cost: five minutes on two CPU cores.

    python sweeps/discussion/just_bugs.py
    python sweeps/discussion/just_bugs.py --epsilon 1.0
    python sweeps/discussion/just_bugs.py --preset cifar10 --epsilon 2.5 --plan
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.cli import sweep_main
from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.graph.stage import Stage
from nrf_ray.presets import Preset
from nrf_ray.seeding import derive_seed
from nrf_ray.stages.perturbed import PerturbedSpec, perturbed
from nrf_ray.stages.squares import SquaresSpec, squares
from nrf_ray.sweep.axes import seeds_to_decide
from nrf_ray.sweep.flags import of_models
from nrf_ray.sweep.given_models import judge_of, source_of
from nrf_ray.sweep.grid import Axes, Grid
from nrf_ray.sweep.models_and_sets import Model, trained
from nrf_ray.sweep.students import balls_of, crafting, taught_by
from nrf_ray.sweep.sweep import Sweep, over_datasets
from nrf_ray.sweep.table import Row
from nrf_ray.tables.debate import Contrast, debate_row
from nrf_ray.tables.perturbed_sets import perturbed_row
from nrf_ray.tables.squares import squares_row
from nrf_ray.tables.trained_models import result_row

NAME = "just_bugs"
LEARNT = Contrast(text="student of PGD to y + 1 - of disentangled PGD, on (x, y)", primary=True)
TRANSFERRED = Contrast(text="transfer of PGD to y + 1 to a fresh model - of disentangled PGD")
POISONED = Contrast(text="says y + 1: student of images moved to y - 1, labelled y - moved to any wrong class")
FLIPPED = Contrast(text="test squares flipped within linf .01: with label noise - without")
NOISELESS = Contrast(text="test squares flipped within linf .01: with noise in the pixels - without")
OTHERS = 4
"""Models beside the source that disentangled PGD holds to y."""


def axes(preset: Preset) -> Axes:
    """Return the default axes: six seeds, the last radius, and the architecture of the preset's sweep for Table 1."""
    return {
        "seeds": seeds_to_decide(preset.seeds),
        "archs": preset.nonrobust_archs,
        "epsilons": preset.epsilons[-1:],
    }


def just_bugs(grid: Grid) -> Sweep:
    """Return the sweep over `grid`."""
    grid.refuse(
        NAME,
        storages="its sets are stored as uint8",
        attacks="it crafts with PGD",
        extra_tests="nonrobust_features tests on them",
        given_victims="it trains the models that take part, and the one that does not",
    )
    return over_datasets(NAME, grid, _rows)


@dataclass(frozen=True, kw_only=True)
class _Cast:
    """Models of one seed."""

    source: Model
    fresh: Model
    """Model that takes part in no perturbation."""
    others: dict[str, Stage]
    """Models that disentangled PGD holds to y."""


def _rows(grid: Grid, dataset: DatasetInfo) -> Iterator[Row]:
    judge = judge_of(grid, dataset)
    yield result_row(NAME, dataset, judge)
    for seed in grid.seeds:
        cast = _cast(grid, dataset, seed)
        yield result_row(NAME, dataset, cast.source)
        balls = balls_of(grid, dataset)
        for threat in balls:
            yield from _bugs(grid, dataset, cast, threat, judge, seed)
        yield from _poison(grid, dataset, cast, balls[0], seed)
        yield from _squares(seed)


def _cast(grid: Grid, dataset: DatasetInfo, seed: int) -> _Cast:
    preset = grid.preset
    others = [trained(dataset, preset.source_arch, preset.source, f"other {i}", seed) for i in range(1, OTHERS + 1)]
    return _Cast(
        source=source_of(grid, dataset, preset.source_arch, preset.source, seed),
        fresh=trained(dataset, preset.source_arch, preset.source, "fresh", seed),
        others={f"other_{i}": model.train for i, model in enumerate(others, start=1)},
    )


def _spec(grid: Grid, dataset: DatasetInfo, threat: ThreatModel, seed: int) -> PerturbedSpec:
    attack, drawn = crafting(grid, threat), derive_seed(seed, "perturbed")
    return PerturbedSpec(dataset=dataset.ref, attack=attack, targets="next", seed=drawn)


def _bugs(grid: Grid, dataset: DatasetInfo, cast: _Cast, threat: ThreatModel, judge: Model, seed: int) -> Iterator[Row]:
    """Yield the rows of both sets, and of what their students learn."""
    spec, inputs = _spec(grid, dataset, threat, seed), {"source": cast.source.train, "fresh": cast.fresh.train}
    of = f"{threat.norm} {threat.eps:.3g} to y + 1 of {dataset.ref.name}, seed {seed}"
    plain = perturbed(spec, **inputs).named(f"PGD {of}")
    apart = perturbed(spec, **inputs, **cast.others).named(f"disentangled PGD {of}")
    primary = threat == balls_of(grid, dataset)[0]
    for arch in grid.archs:
        recipe = grid.preset.student
        learnt = [taught_by(made, dataset, arch, recipe, seed) for made in (plain, apart)]
        for how, made, student in zip(("PGD", "disentangled PGD"), (plain, apart), learnt, strict=True):
            yield perturbed_row(NAME, dataset, how, made, student, arch, seed, judge=judge)
        claimed, control = ((student, "clean_accuracy") for student in learnt)
        yield debate_row(
            NAME, dataset.ref.name, replace(LEARNT, primary=primary), arch, seed,
            claimed=claimed, control=control, threat=threat,
        )  # fmt: skip
    claimed, control = ((made, "transfer_rate") for made in (plain, apart))
    yield debate_row(
        NAME, dataset.ref.name, TRANSFERRED, cast.fresh.arch, seed, claimed=claimed, control=control, threat=threat
    )


def _poison(grid: Grid, dataset: DatasetInfo, cast: _Cast, threat: ThreatModel, seed: int) -> Iterator[Row]:
    """Yield the rows of images with their right labels, moved to y - 1 or to any wrong class."""
    shift = replace(_spec(grid, dataset, threat, seed), targets="previous", labels="true")
    sets = {"poison to y - 1": shift, "poison to any class": replace(shift, targets="other")}
    for arch in grid.archs:
        sides = []
        for how, spec in sets.items():
            name = f"{how} {threat.norm} {threat.eps:.3g} of {dataset.ref.name}, seed {seed}"
            made = perturbed(spec, source=cast.source.train).named(name)
            student = taught_by(made, dataset, arch, grid.preset.student, seed)
            yield perturbed_row(NAME, dataset, how, made, student, arch, seed)
            sides.append((student, "relabelled_accuracy"))
        claimed, control = sides
        yield debate_row(NAME, dataset.ref.name, POISONED, arch, seed, claimed=claimed, control=control, threat=threat)


def _squares(seed: int) -> Iterator[Row]:
    """Yield the rows of squares with noise of both kinds, without label noise, and without noise in the pixels."""
    both = SquaresSpec(seed=seed)
    kinds = {"both": both, "pixels": replace(both, label_noise=0.0), "labels": replace(both, noise=0.0)}
    made = {kind: squares(spec).named(f"squares, noise in {kind}, seed {seed}") for kind, spec in kinds.items()}
    yield from (squares_row(NAME, stage) for stage in made.values())
    threat, claimed = ThreatModel(norm="linf", eps=both.eps), (made["both"], "flipped")
    for contrast, kind in ((FLIPPED, "pixels"), (NOISELESS, "labels")):
        yield debate_row(
            NAME, "squares", contrast, both.arch, seed,
            claimed=claimed, control=(made[kind], "flipped"), threat=threat,
        )  # fmt: skip


FLAGS = of_models(axes)

if __name__ == "__main__":
    sweep_main(just_bugs, FLAGS)
