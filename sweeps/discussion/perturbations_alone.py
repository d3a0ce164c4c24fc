"""Perturbations alone: does a model learn to classify images from perturbed noise?

Kumano et al. 2024, "Theoretical Understanding of Learning from Adversarial Perturbations" (2402.10470).

If perturbations hold class features, the images beneath them should not matter. For every seed, the sweep moves uniform
noise, and the training images, towards random targets t by PGD on a source; a student sees the results with the label
t, and is tested on untouched images. Noise has no true class, so nothing of it can leak: unlike d_rand, a tenth of
whose images keep their label. The control has the same perturbed images with the labels of each other.

Primary contrast, fixed before the first run: accuracy on the untouched test set of the student of perturbed noise - of
the same noise with shuffled labels, at the last l2 radius of the preset. Perturbed images, and linf (the same length in
each pixel at once), are reported beside it. Cost: two minutes on two CPU cores.

    python sweeps/discussion/perturbations_alone.py
    python sweeps/discussion/perturbations_alone.py --epsilon 1.0,1.5,3.0
    python sweeps/discussion/perturbations_alone.py --preset cifar10 --plan
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from nrf_ray.cli import sweep_main
from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.graph.stage import Stage
from nrf_ray.presets import Preset
from nrf_ray.seeding import derive_seed
from nrf_ray.stages.perturbed import Base, PerturbedSpec, perturbed
from nrf_ray.sweep.axes import seeds_to_decide
from nrf_ray.sweep.flags import of_models
from nrf_ray.sweep.given_models import source_of
from nrf_ray.sweep.grid import Axes, Grid
from nrf_ray.sweep.models_and_sets import trained
from nrf_ray.sweep.students import balls_of, crafting, shuffled_labels, taught_by
from nrf_ray.sweep.sweep import Sweep, over_datasets
from nrf_ray.sweep.table import Row
from nrf_ray.tables.debate import Contrast, debate_row
from nrf_ray.tables.perturbed_sets import perturbed_row
from nrf_ray.tables.trained_models import result_row

NAME = "perturbations_alone"
CONTRASTS: dict[Base, Contrast] = {
    "noise": Contrast(text="student of perturbed noise - of the same noise with shuffled labels", primary=True),
    "images": Contrast(text="student of perturbed images - of the same images with shuffled labels"),
}
"""Contrasts by what is perturbed."""


def axes(preset: Preset) -> Axes:
    """Return the default axes: six seeds, the last radius, and the architecture of the preset's sweep for Table 1."""
    return {
        "seeds": seeds_to_decide(preset.seeds),
        "archs": preset.nonrobust_archs,
        "epsilons": preset.epsilons[-1:],
    }


def perturbations_alone(grid: Grid) -> Sweep:
    """Return the sweep over `grid`."""
    grid.refuse(
        NAME,
        storages="its sets are stored as uint8",
        attacks="it crafts with PGD",
        extra_tests="nonrobust_features tests on them",
        given_judges="no judge takes part",
        given_victims="it attacks no other model",
    )
    return over_datasets(NAME, grid, _rows)


def _rows(grid: Grid, dataset: DatasetInfo) -> Iterator[Row]:
    preset, balls = grid.preset, balls_of(grid, dataset)
    for seed in grid.seeds:
        source = source_of(grid, dataset, preset.source_arch, preset.source, seed)
        fresh = trained(dataset, preset.source_arch, preset.source, "fresh", seed)
        yield result_row(NAME, dataset, source)
        for threat, (base, contrast) in product(balls, CONTRASTS.items()):
            attack, drawn = crafting(grid, threat), derive_seed(seed, "perturbed")
            spec = PerturbedSpec(dataset=dataset.ref, attack=attack, base=base, targets="uniform", seed=drawn)
            name = f"perturbed {base}, {threat.norm} {threat.eps:.3g}, for {dataset.ref.name}, seed {seed}"
            made = perturbed(spec, source=source.train, fresh=fresh.train).named(name)
            pair = {base: made, f"{base}, shuffled": shuffled_labels(made, dataset, seed)}
            decides = replace(contrast, primary=contrast.primary and threat == balls[0])
            yield from _students(grid, dataset, made, pair, decides, seed)


def _students(
    grid: Grid, dataset: DatasetInfo, made: Stage, pair: dict[str, Stage], contrast: Contrast, seed: int
) -> Iterator[Row]:
    """Yield the rows of the set `made` and its control, the `pair`, and of their contrast, for each architecture."""
    for arch in grid.archs:
        learnt = [taught_by(shown, dataset, arch, grid.preset.student, seed) for shown in pair.values()]
        for how, student in zip(pair, learnt, strict=True):
            yield perturbed_row(NAME, dataset, how, made, student, arch, seed)
        claimed, control = ((student, "clean_accuracy") for student in learnt)
        threat = made.config.attack.threat
        yield debate_row(NAME, dataset.ref.name, contrast, arch, seed, claimed=claimed, control=control, threat=threat)


FLAGS = of_models(axes)

if __name__ == "__main__":
    sweep_main(perturbations_alone, FLAGS)
