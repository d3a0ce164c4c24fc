"""What `nrf runs` and `nrf status` take of a store with many named runs: seconds and memory of the whole command.

    python -m tests.benchmarks.runs [runs] [rows] [repeats]

Fills a store with `runs` named runs (20) of the transfer grid of `rows` table rows each (500), no two of which share a
student; every stage has a record. Each command is a process of its own.
"""

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from statistics import median
from unittest.mock import patch

from nrf_ray.graph.plan import make_plan
from nrf_ray.graph.record import record_of
from nrf_ray.graph.store import Store
from nrf_ray.page.outline import ended, outline_name, outline_of
from nrf_ray.page.snapshot import RunState
from nrf_ray.sweep.flags import Options
from nrf_ray.sweep.sweep import Sweep
from tests.benchmarks.harness import OUT, report, result
from tests.benchmarks.processes import OthersWatch
from tests.sweeps import transfer_grid


def runs_of(count: int, rows: int) -> list[Sweep]:
    """Return `count` named runs of the transfer grid with other seeds, each of at least `rows` rows."""
    one = len(transfer_grid.transfer_grid(Options(seeds="0").grid()).rows)
    seeds = -(-rows // one)
    found = []
    for number in range(count):
        own = ",".join(str(seed) for seed in range(number * seeds, (number + 1) * seeds))
        found.append(transfer_grid.transfer_grid(Options(seeds=own).grid()).as_run(f"run{number}"))
    return found


def fill(store: Store, sweep: Sweep) -> int:
    """Put a record of every stage of `sweep` into `store`, with its run file and its tables; return its rows."""
    plan = make_plan(sweep.goals, store)
    began = datetime.now(UTC)
    for stage in sweep.stages():
        store.commit(record_of(stage, [], {"n": 1}, 1.0, began.isoformat(timespec="seconds")))
    outline = outline_of(sweep, plan, command="python sweeps/transfer_grid.py --seeds 0", expected=1.0, began=began)
    store.blobs.replace(outline_name(sweep.name), ended(outline, RunState.FINISHED, "").to_bytes())
    return len(sweep.rows)


def fill_all(uri: str, count: int, rows: int) -> int:
    """Fill the store at `uri` with `count` runs of `rows` rows each; return the rows of all."""
    store = Store.open(uri, create=True)
    with patch("os.fsync"):  # filling is not measured, and this store may be lost
        return sum(fill(store, sweep) for sweep in runs_of(count, rows))


COMMAND = """
import atexit, resource, runpy, sys
def told():
    used = resource.getrusage(resource.RUSAGE_SELF)
    (peak,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(used.ru_utime + used.ru_stime, int(peak) / 1024, file=sys.stderr)
atexit.register(told)
runpy.run_module("nrf_ray", run_name="__main__")
"""
"""`nrf`, which says at its end the CPU seconds and the MB that it took; what its parent took does not count."""


def measure(*words: str) -> tuple[float, float, float]:
    """Run `nrf` with `words`; return seconds of wall and of CPU, and its peak memory in MB."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", COMMAND, *words], check=True, capture_output=True, text=True)
    cpu, peak = map(float, done.stderr.split()[-2:])
    return time.perf_counter() - began, cpu, peak


def main() -> None:
    """Measure both commands."""
    given = [int(word) for word in sys.argv[1:]]
    count, rows, repeats = (*given, *(20, 500, 5)[len(given) :])
    with tempfile.TemporaryDirectory() as folder:
        uri = f"{folder}/runs"
        with ProcessPoolExecutor(1, get_context("spawn")) as apart:
            cells = apart.submit(fill_all, uri, count, rows).result()
        for command in ("runs", "status"):
            load = os.getloadavg()[0]
            with OthersWatch() as others:
                wall, cpu, peak = zip(*(measure(command, "--store", uri) for _ in range(repeats)), strict=True)
            checks = {"rows": cells, "seconds": median(wall), "cpu_seconds": median(cpu), "peak_mb": max(peak)}
            row = result(
                "runs", f"{count}-runs-{cells}-rows", f"nrf {command}", [cells / seconds for seconds in wall],
                unit="rows/s", threads=1, load=load, others=others.cores, checks=checks,
            )  # fmt: skip
            report(OUT / "runs.parquet", [row])


if __name__ == "__main__":
    main()
