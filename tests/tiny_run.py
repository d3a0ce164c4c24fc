"""What tests of several rooms share: the transfer grid, and a tiny run of it in this process.

A plugin of `tests/conftest.py`. Heavy imports are inside functions: the process that only prints loads this too.
"""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.conftest import MakeOnce

if TYPE_CHECKING:
    from nrf_ray.graph.store import Store
    from nrf_ray.sweep.sweep import Sweep


class Run(NamedTuple):
    """A finished sweep."""

    sweep: "Sweep"
    store: "Store"


@pytest.fixture(scope="session")
def transfer_grid():
    """Return the function that builds the sweep of sweeps/transfer_grid.py."""
    from tests import sweeps

    return sweeps.transfer_grid.transfer_grid


@pytest.fixture(scope="session")
def make_grid():
    """Return `grid_of`, with the laptop preset where none is given."""
    from nrf_ray.presets import PRESETS
    from tests.small import grid_of

    return lambda preset=PRESETS["laptop"], **changes: grid_of(preset, **changes)


@pytest.fixture(scope="session")
def tiny_grid():
    """Return a grid that takes seconds: one architecture, one radius, one seed, a set and its control."""
    from nrf_ray.attacks.specs import pgd_attack
    from nrf_ray.presets import PRESETS
    from nrf_ray.training.recipes import Recipe
    from tests.small import grid_of

    short = Recipe(epochs=1, lr=0.05)
    preset = replace(
        PRESETS["smoke"],
        source=short,
        victim=short,
        student=short,
        judge=replace(short, adversary=pgd_attack("l2", 1.0, steps=1)),
        attack_steps=3,
        check_examples=8,
    )
    return grid_of(preset)


@pytest.fixture(scope="session")
def tiny(tiny_grid, transfer_grid, make_once: MakeOnce, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return the tiny sweep, run to its end, in a store of this process. Tests must leave its artifacts as they are."""
    from nrf_ray.graph.execute import run_inline
    from nrf_ray.graph.store import Store

    sweep = transfer_grid(tiny_grid)

    def run(folder: Path) -> None:
        assert run_inline(sweep.goals, Store.open(str(folder), create=True)).errors == {}

    own = shutil.copytree(make_once("tiny", run), tmp_path_factory.mktemp("tiny") / "store")
    return Run(sweep, Store.open(str(own), create=False))


@pytest.fixture
def wide(monkeypatch):
    """Keep rich from reading the width of whoever's terminal runs the tests."""
    for name in ("COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    assert "COLUMNS" not in os.environ
