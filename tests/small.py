"""Real sweeps of seconds over texts and planted sets, whose numbers mean nothing, for more than one folder of tests."""

from dataclasses import replace

import pytest

from nrf_ray.attacks.specs import Substitution
from nrf_ray.presets import PRESETS, Preset
from nrf_ray.sweep.grid import Grid
from nrf_ray.sweep.sweep import Sweep
from tests.sweeps import load

text_features = load("text_features")
planted_features = load("planted_features")

WORDS = Substitution(budget=2, candidates=8, among=30, tries=2)
SHORT = replace(PRESETS["text"].source, epochs=3, batch_size=20)
HARD = replace(PRESETS["text"].robust_source, epochs=1, batch_size=20)
TEXT = replace(
    PRESETS["text"],
    source=SHORT, victim=SHORT, student=SHORT, robust_source=HARD, judge=HARD, matching_source=SHORT,
    epsilons=(0.5,), craft_steps=3, attack_steps=3, check_examples=4, test_examples=20, substitution=WORDS,
    matching=replace(PRESETS["text"].matching, steps=3),
)  # fmt: skip


def grid_of(preset: Preset, **changes) -> Grid:
    """Return the grid of a preset's own axes, but for `changes`."""
    axes = {name: getattr(preset, name) for name in Grid.__dataclass_fields__ if hasattr(preset, name)}
    return Grid(preset=preset, **{**axes, **changes})


def text_sweep(dataset: str) -> Sweep:
    """Return a sweep over a set of texts: d_det by vectors and by words, its control, and D_R."""
    grid = grid_of(TEXT, datasets=(dataset,), seeds=(0,), constructions=("d_det", "leak_det", "d_robust"))
    return text_features.text_features(grid)


def planted_sweep() -> Sweep:
    """Return a sweep over planted images and texts, labelled by one part and by both."""
    options = planted_features.PlantedOptions(
        label="human,noise", seeds="0", phase_share="0.9,1", phase_noise="1", train=128, test=40, brief=True
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planted_features, "UNIT_STEPS", 1)
        patch.setattr(planted_features, "UNIT_EXAMPLES", 16)
        return planted_features.planted_features(options.grid())
