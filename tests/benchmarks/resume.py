"""What a kill costs: the main job, killed with -9 at half time and started again, against one that is left alone.

    python -m tests.benchmarks.resume [--case one]

Each run begins with an empty store, and Ray's start counts: it is paid twice by the run that is killed, so a short job
loses more than a long one. The two follow each other in one round, so a machine that is slower now is so for both. The
rate is in cells per second; `left alone is x1.2` means that the killed run took 1.2 times as long.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.benchmarks.harness import Case, Contender, main
from tests.benchmarks.main_job import ROOT, SIZES, GridSize


@dataclass
class Job:
    """The main job on one grid; `finished` after each run says how many stages a kill at half time left."""

    size: GridSize
    lasted: list[float] = field(default_factory=list)
    """Seconds of every run that was left alone."""
    finished: list[int] = field(default_factory=list)

    def left_alone(self) -> None:
        """Run it once."""
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            self._finish(self._start(folder))
            self.lasted.append(time.monotonic() - began)

    def killed(self) -> None:
        """Kill it after half of the time that the last run took, and run it again to its end."""
        with tempfile.TemporaryDirectory() as folder:
            first = self._start(folder)
            time.sleep(self.lasted[-1] / 2)
            first.kill()
            first.wait()
            self.finished.append(len(list(Path(folder).glob("runs/*/*/record.json"))))
            self._finish(self._start(folder))

    def _start(self, folder: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "sweeps/transfer_grid.py", "--store", f"{folder}/runs", *self.size.flags]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)

    def _finish(self, process: "subprocess.Popen[bytes]") -> None:
        if process.wait() != 0:
            raise SystemExit(f"{process.args} ended with {process.returncode}")


def runs(size: GridSize) -> list[Contender]:
    """Return the run that is killed, and the one that is left alone before it."""
    job = Job(size)
    return [
        Contender(name="left alone", run=job.left_alone, work=size.cells),
        Contender(
            name="killed at half time",
            run=job.killed,
            work=size.cells,
            check=lambda: {"finished_at_the_kill": float(job.finished[-1])},
        ),
    ]


def cases() -> list[Case]:
    """Return the main job's grids."""
    return [
        Case(name=size.name, contenders=partial(runs, size), threads=2, unit="cells", repeats=1, warm_ups=0)
        for size in SIZES
    ]


if __name__ == "__main__":
    main("resume", __doc__, cases())
