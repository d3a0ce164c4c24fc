"""The API reference is made without a warning, and every public module has its page."""

import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import ROOT


def modules() -> set[Path]:
    """Return what the page of every public module is called, below the folder of the reference."""
    files = (file.relative_to(ROOT) for file in (ROOT / "nrf_ray").rglob("*.py"))
    named = (file.parent if file.stem == "__init__" else file for file in files)
    return {file.with_suffix(".html") for file in named if not file.stem.startswith("_")}


def test_packages_name_what_is_public_as_x_as_x() -> None:
    """By `__all__`, which would do as well for programs, pdoc leaves the modules of a package out."""
    assert [str(file) for file in (ROOT / "nrf_ray").rglob("__init__.py") if "__all__" in file.read_text()] == []


@pytest.mark.slow
def test_every_public_module_has_a_page_and_nothing_is_warned_of(tmp_path: Path) -> None:
    pytest.importorskip("pdoc")
    # A make that another make has started, as `make slow` does, would print its folder too.
    asked = ["make", "--no-print-directory", "--dry-run", "docs"]
    recipe = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    # Without listings of the source, whose colouring takes half of the time and says nothing of the source.
    command = recipe.replace("build/docs", f"{tmp_path} --no-show-source")
    assert str(tmp_path) in command
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    pages = {file.relative_to(tmp_path) for file in tmp_path.rglob("*.html")} - {Path("index.html")}
    assert pages == modules()
