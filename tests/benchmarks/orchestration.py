"""What a stage costs beside its own work, and whether warm processes share it.

    python -m tests.benchmarks.orchestration [stages] [repeats]

Runs `stages` toy stages of 0 s and of 0.2 s through the whole cluster layer (plan, leases, searcher, Tune, commit) on
this machine, `repeats` times each in turn. Theoretical minimum: stages x seconds / slots, plus Ray's start.
"""

import io
import statistics
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from nrf_ray.cluster.run import run_sweep
from nrf_ray.graph.plan import make_plan
from nrf_ray.graph.stage import walk
from nrf_ray.graph.store import Store
from tests.cluster.toys import Toy, sweep_of, toy


def measure(stages: int, seconds: float) -> tuple[float, float, int]:
    """Return wall seconds, their part beside the work on the slots, and the number of processes used."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(f"{folder}/store", create=True)
        sweep = sweep_of(*(toy(Toy(name=str(i), seconds=seconds)) for i in range(stages)))
        log, console = Path(folder) / "logs" / "ray.log", Console(file=io.StringIO())
        began = time.monotonic()
        outcome = run_sweep(sweep, make_plan(sweep.goals, store), store, address=None, log=log, console=console)
        wall = time.monotonic() - began
        processes = {store.artifact(stage).record.provenance["pid"] for stage in walk(sweep.goals)}
        return wall, wall - stages * seconds / outcome.slots, len(processes)


def main() -> None:
    """Print one line for each kind of stage."""
    stages = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    runs: dict[float, list[tuple[float, float, int]]] = {0.0: [], 0.2: []}
    for _ in range(repeats):
        for seconds, results in runs.items():
            results.append(measure(stages, seconds))
    for seconds, results in runs.items():
        wall, beside, processes = zip(*results, strict=True)
        print(
            f"{stages} stages of {seconds:g} s, n = {repeats}: wall {statistics.median(wall):.1f} s "
            f"({min(wall):.1f} .. {max(wall):.1f}), beside the work {statistics.median(beside):.1f} s, "
            f"{1000 * statistics.median(beside) / stages:.0f} ms a stage with Ray's start, processes {processes}"
        )


if __name__ == "__main__":
    main()
