"""What an interruption costs: a run that is killed half-way and started again, against one that was left alone.

The two runs of a pair follow each other, so that a machine that is slower now is so for both. Time is from the start of
the process to its end, start-up of Ray included twice in the interrupted run.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GRID = ("--seeds", "0,1", "--arch", "vgg_s,resnet_s", "--epsilon", "1.0", "--construction", "d_other,d_det,d_rand")
ALLOWED = 1.3
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def start(store: Path) -> "subprocess.Popen[bytes]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    command = [sys.executable, "sweeps/transfer_grid.py", "--store", str(store), *GRID]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)


def test_killed_at_half_time_it_takes_at_most_a_third_longer(tmp_path: Path) -> None:
    began = time.monotonic()
    assert start(tmp_path / "left alone").wait() == 0
    uninterrupted = time.monotonic() - began

    began = time.monotonic()
    first = start(tmp_path / "killed")
    time.sleep(uninterrupted / 2)
    first.kill()
    first.wait()
    done = len(list((tmp_path / "killed").glob("*/*/record.json")))
    assert start(tmp_path / "killed").wait() == 0
    interrupted = time.monotonic() - began

    every = len(list((tmp_path / "left alone").glob("*/*/record.json")))
    ratio = interrupted / uninterrupted
    print(
        f"\n{every} stages: {uninterrupted:.1f} s left alone; {interrupted:.1f} s killed at half time with {done} done "
        f"and started again: {ratio:.2f} times as long, on {os.cpu_count()} cores"
    )
    assert ratio <= ALLOWED
