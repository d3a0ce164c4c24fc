"""The tutorial is carried out as it stands, block by block, in a copy of the checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, TUTORIAL, Block, blocks

SET_UP = "python -m venv"
"""How the block begins that makes an empty environment; .ci/run does the same with the network that it needs."""

PROMISED = ("start-up and orchestration", "Ray was not started", "d_same of robust source")
"""What must be seen, for the text says so: a run, one that finds everything there, a new construction."""


def run(block: Block, folder: Path, environment: dict[str, str]) -> str:
    """Carry out one block in `folder`; return what it printed."""
    words = {
        "sh": ["bash", "-euo", "pipefail", "-c", block.text],
        "python": [sys.executable, "-c", block.text],
        "diff": ["git", "apply", "-"],
    }[block.language]
    done = subprocess.run(
        words,
        cwd=folder,
        env=environment,
        input=block.text if block.language == "diff" else None,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_what_the_tutorial_changes_is_still_there_to_be_changed() -> None:
    (change,) = (block.text for block in blocks(TUTORIAL) if block.language == "diff")
    done = subprocess.run(
        ["git", "apply", "--check", "-"], cwd=ROOT, input=change, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_newcomer_gets_from_nothing_to_a_construction_of_their_own(tmp_path: Path) -> None:
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
