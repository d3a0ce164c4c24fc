"""What the tests of the results share: the transfer grid, and a tiny run of it in this process."""

import importlib.util
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.store import Store
from nrf_ray.presets import PRESETS
from nrf_ray.sweep.grid import Grid
from nrf_ray.sweep.sweep import Sweep
from nrf_ray.training.recipes import Recipe
from tests.conftest import MakeOnce
from tests.small import grid_of

SWEEP_FILE = Path(__file__).parents[2] / "sweeps" / "transfer_grid.py"


class Run(NamedTuple):
    """A finished sweep."""

    sweep: Sweep
    store: Store


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def transfer_grid() -> Callable[[Grid], Sweep]:
    """Return the function that builds the sweep of sweeps/transfer_grid.py."""
    spec = importlib.util.spec_from_file_location("transfer_grid_under_test", SWEEP_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.transfer_grid


@pytest.fixture(scope="session")
def make_grid() -> Callable[..., Grid]:
    """Return `grid_of`, with the laptop preset where none is given."""
    return lambda preset=PRESETS["laptop"], **changes: grid_of(preset, **changes)


@pytest.fixture(scope="session")
def tiny_grid() -> Grid:
    """Return a grid that takes seconds: one architecture, one radius, one seed, a set and its control."""
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
def tiny(
    tiny_grid: Grid,
    transfer_grid: Callable[[Grid], Sweep],
    make_once: MakeOnce,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    """Return the tiny sweep, run to its end, in a store of this process. Tests must leave its artifacts as they are."""
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
