"""Wherever a run is killed, stopped or hit by an error of the system, running it again gives what it always gives."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCENARIOS = {"nothing", "damaged_input", "other_leftovers", "full_of_garbage"}


def at_points(kind: str, work: Path, stride: int) -> dict[str, Any]:
    """Return what the harness found in every scenario, at one point in `stride`."""
    command = [sys.executable, "-m", "tests.faults.harness", kind, str(work), str(stride)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=850)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(kind: str, what: str, work: Path, stride: int, tally: Counter[str]) -> None:
    """Try one kind of fault; count it; nothing may be lost or wrong after it."""
    found = at_points(kind, work, stride)
    for scenario, one in found.items():
        print(f"{kind}, {scenario}: {one['tried']} of {one['points']} points, {one['torn']} left temporary files")
        tally[what] += one["tried"]
        tally["lost or wrong artifacts"] += sum(map(len, one["wrong"].values()))
        assert one["points"] > (20 if scenario == "full_of_garbage" else 50), "are the calls still seen?"
        assert one["wrong"] == {}
    if kind == "kill":
        assert found["nothing"]["torn"] > 0, "are half-written files still left?"
    assert set(found) == (SCENARIOS - {"full_of_garbage"} if kind == "freeze" else SCENARIOS)


FAST = [("kill", "kills at a crash point", 7), ("freeze", "processes stopped at a crash point and woken late", 37)]
FAST += [("ENOSPC", "errors of the system", 31), ("EIO+", "errors of the system", 43)]


@pytest.mark.parametrize(("kind", "what", "stride"), FAST, ids=[kind for kind, *_ in FAST])
def test_a_sample_of_points(kind: str, what: str, stride: int, tmp_path: Path, tally: Counter[str]):
    check(kind, what, tmp_path, stride, tally)


FULL = [("kill", "kills at a crash point", 1), ("freeze", "processes stopped at a crash point and woken late", 1)]
FULL += [("ENOSPC", "errors of the system", 1), ("ENOSPC+", "errors of the system", 3)]
FULL += [(error, "errors of the system", 5) for error in ("EROFS+", "EMFILE", "EIO")]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("kind", "what", "stride"), FULL, ids=[kind for kind, *_ in FULL])
def test_every_point(kind: str, what: str, stride: int, tmp_path: Path, tally: Counter[str]):
    check(kind, what, tmp_path, stride, tally)
