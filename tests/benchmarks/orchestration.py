"""What a stage costs beside its own work, and whether that grows with the number of stages.

    python -m tests.benchmarks.orchestration [stages] [repeats] [seconds]

Runs `stages` toy stages of 0 s (or `seconds`) through the whole cluster layer (plan, leases, searcher, Tune, commit) on
this machine, `repeats` times. What a stage costs is the time from one commit to the next; the files tell. Ray's start,
to the first commit, and its end stand apart. Theoretical minimum: stages x seconds / slots.

What limits it: one driver hands out all stages, one after the other. A trial costs Tune about 10 ms of the driver
(three questions to Ray's head, the trial's state as JSON) and the lease and its folder three fsyncs; what a worker
needs (reset, two files with an fsync each) runs beside it. Past that: several drivers on one store, or several tiny
stages a trial; both are worth it only where stages take less than a second each on more than 50 slots.
"""

import io
import os
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import NamedTuple

from rich.console import Console

from nrf_ray.cluster.run import run_sweep
from nrf_ray.graph.plan import make_plan
from nrf_ray.graph.store import RECORD, Store, place_of
from tests.benchmarks.harness import OUT, report, result
from tests.benchmarks.processes import OthersWatch
from tests.cluster.toys import Toy, sweep_of, toy


class Run(NamedTuple):
    """One run, in seconds."""

    start: float
    """From nothing to the first commit."""
    gap: float
    """Median from one commit to the next."""
    quarters: list[float]
    """Mean from one commit to the next, in each quarter of the run."""
    end: float
    """From the last commit until Ray has stopped."""
    beside: float
    """Of the whole, what is not work on the slots."""
    processes: int
    """That ran stages."""


def measure(stages: int, seconds: float) -> Run:
    """Run so many stages of so many seconds."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(f"{folder}/store", create=True)
        sweep = sweep_of(*(toy(Toy(name=str(i), seconds=seconds)) for i in range(stages)))
        log, console = Path(folder) / "logs" / "ray.log", Console(file=io.StringIO())
        began = time.time()
        outcome = run_sweep(sweep, make_plan(sweep.goals, store), store, address=None, log=log, console=console)
        ended = time.time()
        paths = [Path(store.path_of(place_of(stage).file(RECORD))) for stage in sweep.goals]
        commits = sorted(path.stat().st_mtime for path in paths)
        processes = {store.artifact(stage).record.provenance["pid"] for stage in sweep.goals}
    gaps = [after - before for before, after in pairwise(commits)]
    quarter = len(gaps) // 4
    return Run(
        start=commits[0] - began,
        gap=median(gaps),
        quarters=[sum(gaps[i * quarter : (i + 1) * quarter]) / quarter for i in range(4)],
        end=ended - commits[-1],
        beside=ended - began - stages * seconds / outcome.slots,
        processes=len(processes),
    )


def main() -> None:
    """Print one line a run, and keep their medians."""
    given = dict(enumerate(sys.argv[1:]))
    stages, repeats, seconds = int(given.get(0, 1000)), int(given.get(1, 3)), float(given.get(2, 0))
    runs, load = [], os.getloadavg()[0]
    with OthersWatch() as others:
        for _ in range(repeats):
            run = measure(stages, seconds)
            runs.append(run)
            by_quarter = ", ".join(f"{1000 * gap:.1f}" for gap in run.quarters)
            print(
                f"start {run.start:.1f} s, {1000 * run.gap:.1f} ms a stage (median; by quarter {by_quarter}), end "
                f"{run.end:.1f} s, beside the work {run.beside:.1f} s, {run.processes} processes",
                flush=True,
            )
    checks = {part: median(getattr(run, part) for run in runs) for part in ("start", "gap", "end", "beside")}
    rates = [1 / run.gap for run in runs]
    row = result(
        "orchestration", f"{stages}x{seconds:g}s", "sweep", rates,
        unit="stages/s", threads=2, load=load, others=others.cores, checks=checks,
    )  # fmt: skip
    report(OUT / "orchestration.parquet", [row])


if __name__ == "__main__":
    main()
