"""The sweep files as modules: they are scripts beside the package, so tests load them by path."""

import importlib.util
import runpy
import sys
from pathlib import Path
from types import ModuleType

import pytest

from nrf_ray import cli
from nrf_ray.sweep.sweep import Sweep

FOLDER = Path(__file__).resolve().parents[1] / "sweeps"


def load(name: str) -> ModuleType:
    """Return the sweep file `name` as a module."""
    spec = importlib.util.spec_from_file_location(f"sweeps.{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def planned(monkeypatch: pytest.MonkeyPatch, script: str, *flags: str) -> tuple[int, list[Sweep]]:
    """Run a sweep file for a plan; return its exit code and the sweep that it would plan. Nothing is written."""
    built: list[Sweep] = []
    monkeypatch.setattr(cli, "run_or_plan", lambda sweep, options: built.append(sweep) or 0)
    monkeypatch.setattr(sys, "argv", [script, *flags, *([] if {"--plan", "--help"} & set(flags) else ["--plan"])])
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(str(FOLDER.parent / script), run_name="__main__")
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, built


transfer_grid = load("transfer_grid")
robust_features = load("robust_features")
nonrobust_features = load("nonrobust_features")
recipe_search = load("recipe_search")
