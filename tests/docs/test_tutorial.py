"""The tutorial is carried out as it stands, block by block, in a copy of the checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nrf_ray.errors import registered_by
from tests.docs.pages import ROOT, TUTORIAL, Block, blocks
from tests.plugged import Load

SET_UP = "python -m venv"
"""How the block begins that makes an empty environment; .ci/run does the same with the network that it needs."""

PROMISED = (
    *("start-up and orchestration", "Ray was not started", "d_same of robust source", "student flat", "noise l2 1"),
    *("plug-in mine.py changed", "adaptive"),
)
"""What must be seen, for the text says so: a run, one that finds everything there, things of a plug-in, its change."""


def run(block: Block, folder: Path, environment: dict[str, str]) -> str:
    """Carry out one block in `folder`; return what it printed."""
    if block.file:
        (folder / block.file).write_text(block.text)
        return ""
    words = {
        "sh": ["bash", "-euo", "pipefail", "-c", block.text],
        "python": [sys.executable, "-c", block.text],
    }[block.language]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def plug_in() -> Block:
    """Return the plug-in that the tutorial writes."""
    (block,) = (block for block in blocks(TUTORIAL) if block.file)
    return block


def test_the_plug_in_of_the_tutorial_is_short_and_registers_what_the_text_says(plug: Load) -> None:
    block = plug_in()
    assert (block.language, block.file, block.text.count("\n")) == ("python", "mine.py", 25)
    mine = plug(block.text)
    kinds = {(registry.kind, name) for registry, name in registered_by(mine.module)}
    assert kinds == {
        *(("architecture", "flat"), ("construction", "d_same")),
        *(("attack", "noise"), ("attack function", "noise")),
    }


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_newcomer_gets_from_nothing_to_code_of_their_own(tmp_path: Path) -> None:
    for name in ("nrf_ray", "sweeps"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, module in (("nrf", ["-m", "nrf_ray"]), ("python", [])):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {" ".join(module)} "$@"\n')
        (programs / name).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment |= {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(tmp_path)}
    seen: list[str] = []
    for block in blocks(TUTORIAL):
        if block.text.startswith(SET_UP):
            block = Block("sh", "nrf doctor || true")
        seen.append(run(block, tmp_path, environment))
        print(f"{len(seen)}. {block.text}\n{seen[-1]}")
    assert (tmp_path / "d_other" / "train.parquet").is_file()
    assert (tmp_path / "d_other" / "datasheet.md").is_file()
    assert "d_same" in (tmp_path / "tables" / "results.md").read_text()
    for promise in PROMISED:
        assert any(promise in text for text in seen), promise
