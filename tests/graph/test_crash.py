"""Whenever a run is killed, running the same command again gives what an uninterrupted run gives."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.graph.crash import SCENARIOS


@pytest.fixture(scope="module")
def crashes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `tests.graph.crash` found in every scenario."""
    work = tmp_path_factory.mktemp("crash")
    command = [sys.executable, "-m", "tests.graph.crash", str(work)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("scenario", [prepare.__name__ for prepare in SCENARIOS])
def test_a_run_killed_at_any_point_is_resumed_by_running_it_again(crashes: dict[str, Any], scenario: str):
    found = crashes[scenario]
    print(f"{scenario}: {found['points']} crash points, {found['with temporary files']} of them left temporary files")
    assert found["points"] > 50, "the calls that change files are no longer seen; does blobs.py use others now?"
    assert found["with temporary files"] > 10
    assert found["wrong"] == {}
