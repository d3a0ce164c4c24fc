"""The sweep files as modules: they are scripts beside the package, so tests load them by path."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

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


transfer_grid = load("transfer_grid")
robust_features = load("robust_features")
nonrobust_features = load("nonrobust_features")
recipe_search = load("recipe_search")
