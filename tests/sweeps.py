"""The sweep files as modules: they are scripts beside the package, so tests load them by path."""

import importlib.util
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from nrf_ray import cli
from nrf_ray.sweep.sweep import Sweep

FOLDER = Path(__file__).resolve().parents[1] / "sweeps"
FILES = {path.stem: path for path in sorted(FOLDER.rglob("*.py"))}
"""Every sweep file, by name: a name is also the sweep's folder in a store, so no two files may share it."""


def load(name: str) -> ModuleType:
    """Return the sweep file `name` as a module."""
    spec = importlib.util.spec_from_file_location(f"sweeps.{name}", FILES[name])
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


def heavy_imports_of_plan(store: Path, script: str, *flags: str) -> list[str]:
    """Return which heavy libraries a new process has imported once it has planned the file `script` of sweeps/."""
    code = (
        "import runpy, sys; sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "heavy = {'torch', 'ray', 'pandas', 'pyarrow', 'numpy', 'scipy', 'transformers'}\n"
        "print(*sorted(heavy & set(sys.modules)), sep=',')"
    )
    command = [sys.executable, "-c", code, f"sweeps/{script}", "--plan", "--store", str(store), *flags]
    done = subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.splitlines()[-1].split(",") if name]


def mistake(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, *flags: str) -> str:
    """Return the one line with which the sweep file `name` ends because of wrong `flags`, with exit code 2."""
    module = load(name)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *flags])
    with pytest.raises(SystemExit) as end:
        cli.sweep_main(getattr(module, name), module.FLAGS)
    text = capsys.readouterr().err
    assert (end.value.code, text.count("\n")) == (2, 1)
    return text


transfer_grid = load("transfer_grid")
robust_features = load("robust_features")
nonrobust_features = load("nonrobust_features")
recipe_search = load("recipe_search")
