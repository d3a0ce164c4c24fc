"""What planning a large grid takes: seconds and memory, against an empty store and against a full one.

    python -m tests.benchmarks.planning [stages] [repeats]

Plans the transfer grid with as many seeds as give at least `stages` stages (10,000), in a process of its own each time.
The full store holds a record for every stage. Counted is everything between the flags and the finished forecast.
"""

import math
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from statistics import median

from nrf_ray.graph.estimates import learn
from nrf_ray.graph.plan import make_plan
from nrf_ray.graph.record import record_of
from nrf_ray.graph.stage import Resources
from nrf_ray.graph.store import Store
from nrf_ray.run.forecast import Grounds, forecast
from nrf_ray.run.machine import this_machine
from nrf_ray.run.overheads import learnt
from nrf_ray.sweep.flags import Options
from nrf_ray.sweep.sweep import Sweep
from tests.benchmarks.harness import OUT, report, result
from tests.benchmarks.processes import OthersWatch
from tests.sweeps import transfer_grid


def sweep_with(seeds: int) -> Sweep:
    """Return the transfer grid with so many seeds."""
    options = Options(seeds=",".join(map(str, range(seeds))))
    return transfer_grid.transfer_grid(options.grid()).on(Resources())


def measure(uri: str, seeds: int) -> tuple[int, float, float, float]:
    """Return stages, seconds of CPU and of wall, and the process's peak memory in MB."""
    began, cpu = time.perf_counter(), time.process_time()
    sweep = sweep_with(seeds)
    store, machine = Store.open(uri, create=False), this_machine(Resources())
    held = store.contents()
    estimates = learn(store, held, machine.is_like, machine.seconds)
    plan = make_plan(sweep.goals, store, held=held, cost=estimates.seconds)
    forecast(Grounds(plan=plan, estimates=estimates, overheads=learnt(store)), machine.slots)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return len(plan.steps), time.process_time() - cpu, time.perf_counter() - began, peak


def main() -> None:
    """Measure both stores."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    one, two = (len(list(sweep_with(seeds).stages())) for seeds in (1, 2))
    seeds = math.ceil((wanted - one) / (two - one)) + 1
    with tempfile.TemporaryDirectory() as folder:
        stores = {name: Store.open(f"{folder}/{name}", create=True) for name in ("empty", "full")}
        for stage in sweep_with(seeds).stages():
            stores["full"].commit(record_of(stage, [], {"n": 1}, 1.0, "now"))
        for name, store in stores.items():
            runs, load = [], os.getloadavg()[0]
            with OthersWatch() as others:
                for _ in range(repeats):
                    with multiprocessing.get_context("spawn").Pool(1) as process:
                        runs.append(process.apply(measure, (store.uri, seeds)))
            counts, cpu, wall, peak = zip(*runs, strict=True)
            checks = {"stages": counts[0], "seconds": median(wall), "cpu_seconds": median(cpu), "peak_mb": max(peak)}
            rates = [counts[0] / seconds for seconds in wall]
            row = result(
                "planning", f"{wanted}-{name}", "plan", rates,
                unit="stages/s", threads=1, load=load, others=others.cores, checks=checks,
            )  # fmt: skip
            report(OUT / "planning.parquet", [row])


if __name__ == "__main__":
    main()
