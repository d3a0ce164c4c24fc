"""Useful and robust features: which do models use, and do robust features leak into D_rand and D_det?

Ilyas et al. 2019, section 2; Goh 2019, "Robust Feature Leakage".

For every seed, the sweep trains a standard and an adversarially trained model, constructs sets from them, and trains
students on the sets. It measures every penultimate unit of every model: how useful it is (rho), and how robustly useful
(gamma) in a ball around each test image. Then it trains linear classifiers on each set, with features meant to be
robust as their only inputs: the logits of adversarially trained linear classifiers, and the penultimate units of
adversarially trained networks. The accuracy of such a classifier on the untouched test set measures what leaked
through these features. Linear classifiers are trained in balls up to three times as wide as the ball in which they are
certified. Their features are robust if they meet Goh's specification; the summary says which do.

    python sweeps/feature_usefulness.py                  # digits: three minutes on two CPU cores
    python sweeps/feature_usefulness.py --preset smoke
    python sweeps/feature_usefulness.py --construction d_rand,d_det --epsilon 0.5,1.0
"""

from collections.abc import Iterator
from dataclasses import replace

from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.cli import sweep_main
from nrf_ray.constructions.spec import construction_named, matched, with_control
from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.errors import ConfigError
from nrf_ray.presets import Preset
from nrf_ray.sweep.flags import of_models
from nrf_ray.sweep.given_models import source_of
from nrf_ray.sweep.grid import Axes, Grid
from nrf_ray.sweep.models_and_sets import ConstructedSet, Model, constructed, crafted_by, trained
from nrf_ray.sweep.sweep import Sweep, over_datasets
from nrf_ray.sweep.table import Row
from nrf_ray.tables.leakage import linear_leakage_row, network_leakage_row
from nrf_ray.tables.trained_models import result_row
from nrf_ray.tables.usefulness import usefulness_row
from nrf_ray.training.recipes import Recipe

NAME = "feature_usefulness"
STEPS = 5
"""PGD steps that seek the infimum, separately for every unit; ten lower the mean gamma of digits by another .02."""

WIDER = (1.0, 2.0, 3.0)
"""Training radii of the linear classifiers, in multiples of the certified radius."""


def known() -> tuple[str, ...]:
    """Return the constructions that this sweep supports: those with a control, and those by matching."""
    return tuple(dict.fromkeys((*with_control(), *matched())))


def axes(preset: Preset) -> Axes:
    """Return the default axes: all constructions at their first radius, and one architecture."""
    return {"constructions": known(), "archs": preset.nonrobust_archs, "epsilons": preset.epsilons[:1]}


def feature_usefulness(grid: Grid) -> Sweep:
    """Return the sweep over `grid`."""
    grid.allow_constructions(NAME, known())
    grid.refuse(
        NAME,
        storages="its sets are stored as uint8",
        attacks="it attacks units, with PGD",
        extra_tests="nonrobust_features tests on them",
        given_judges="no judge looks at its sets",
        given_victims="it attacks no other model",
    )
    if not set(grid.norms) <= set(grid.preset.norms):
        raise ConfigError(
            f"{NAME} measures in balls of the preset's radii, so --norm must be {', '.join(grid.preset.norms)}"
        )
    return over_datasets(NAME, grid, _rows)


def _rows(grid: Grid, dataset: DatasetInfo) -> Iterator[Row]:
    preset = grid.preset
    for seed in grid.seeds:
        standard = source_of(grid, dataset, preset.source_arch, preset.source, seed)
        robust = source_of(grid, dataset, preset.source_arch, preset.robust_source, seed)
        sets = list(_sets(grid, dataset, standard, seed))
        students = [
            trained(dataset, arch, _recipe(preset, made), "student", seed, made) for made in sets for arch in grid.archs
        ]
        for model in (standard, robust, *students):
            yield result_row(NAME, dataset, model)
            yield from _units(grid, dataset, model)
        for made in (None, *(made for made in sets if made.construction.control)):
            yield network_leakage_row(NAME, dataset, robust, made)
            for norm in grid.norms:
                for radius in preset.radii:
                    threat = ThreatModel(norm=norm, eps=radius)
                    # The result of a linear classifier on the original data does not depend on a seed.
                    if made is not None or seed == grid.seeds[0]:
                        for factor in WIDER:
                            wider = replace(threat, eps=factor * radius)
                            yield linear_leakage_row(NAME, dataset, wider, threat, seed, made)
                    other = _robust_at(grid, dataset, threat, seed)
                    if other.train.key != robust.train.key:
                        yield network_leakage_row(NAME, dataset, other, made)


def _sets(grid: Grid, dataset: DatasetInfo, standard: Model, seed: int) -> Iterator[ConstructedSet]:
    """Yield every constructed set: matched sets once, the others for every norm and radius."""
    preset = grid.preset
    for name in grid.constructions:
        construction = construction_named(name)
        if construction.features == "matched":
            robust = construction.source_training == "adversarial"
            recipe = preset.matching_robust_source if robust else preset.matching_source
            source = source_of(grid, dataset, preset.matching_arch, recipe, seed)
            yield constructed(dataset, name, crafted_by(preset, construction, None), source, seed)
            continue
        for norm in grid.norms:
            for eps in grid.epsilons:
                craft = crafted_by(preset, construction, ThreatModel(norm=norm, eps=eps))
                yield constructed(dataset, name, craft, standard, seed)


def _recipe(preset: Preset, made: ConstructedSet) -> Recipe:
    construction = made.construction
    return preset.matched_student if construction.features == "matched" else preset.student_of(construction.name)


def _robust_at(grid: Grid, dataset: DatasetInfo, threat: ThreatModel, seed: int) -> Model:
    """Return an adversarially trained model of another radius, with its step size in proportion."""
    recipe = grid.preset.robust_source
    assert recipe.adversary is not None, "a robust source has an adversary"
    step_size = recipe.adversary.step_size * (threat.eps / recipe.adversary.threat.eps)
    adversary = replace(recipe.adversary, threat=threat, step_size=step_size)
    model = trained(dataset, grid.preset.source_arch, replace(recipe, adversary=adversary), "source", seed)
    return replace(model, train=model.train.named(f"{model.train.label}, {threat.norm} {threat.eps:g}"))


def _units(grid: Grid, dataset: DatasetInfo, model: Model) -> Iterator[Row]:
    """Yield the rows of a model's units, one for every norm, in the smallest ball of the preset."""
    for norm in grid.norms:
        attack = pgd_attack(norm, grid.preset.radii[0], steps=STEPS, mode=grid.preset.mode)
        yield usefulness_row(NAME, dataset, model, attack, examples=grid.preset.test_examples)


FLAGS = of_models(axes)

if __name__ == "__main__":
    sweep_main(feature_usefulness, FLAGS)
