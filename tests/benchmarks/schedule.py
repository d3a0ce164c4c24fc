"""How a paper-sized grid would run on many GPUs: the real plans, the real frontier, a clock that only counts.

    python -m tests.benchmarks.schedule [--gpus 64] [--seeds 0,1,2] [--wrong 2.0] [--out build/benchmarks]

Plans the sweeps with preset `cifar10` (the paper's networks and recipes), prices them by the cost model for an A100,
and simulates each of them and all together on one cluster and store. Nothing is run. It prints the wall time, the bound
that no schedule beats, and the share of the GPUs' time that they work; and draws the schedule of all together.

What limits it:

- *The longest chain.* With three seeds most sweeps have less work for 64 GPUs than their longest chain takes (robust
  source, set, student: 6 hours), so the GPUs stand idle however the work is ordered. More seeds, or several sweeps
  beside each other, fill them. Past that a training itself has to be cut up: `TorchTrainer` for what lies on the chain.
- *Pools.* A set of several shards takes all slots of its pool at once, and those that it gets first wait for the last
  one. `nrf_ray.graph.pools` keeps pools small; shards as stages of their own would not wait at all.
- *The one driver.* It hands out a stage in about 20 ms (`tests.benchmarks.orchestration`), so it feeds as many GPUs as
  have a mean stage of 20 ms each: tens of thousands with trainings of an hour, but 50 slots with stages of a second.
  Past that: several drivers on one store (their leases keep them apart), or several tiny stages a trial.
- *Wrong estimates.* With --wrong every stage takes its estimate times a random factor, which is the given one or its
  inverse at one standard deviation; the order of the work still follows the estimates.
"""

import argparse
import math
import random
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from nrf_ray.display.svg import Panel, picture
from nrf_ray.graph.schedule import Schedule, ahead_of, longest_chain, simulate
from nrf_ray.graph.stage import Resources, Stage, walk
from nrf_ray.run.overheads import HANDOUT
from nrf_ray.sweep.flags import Options
from tests.sweeps import load

SWEEPS = ("transfer_grid", "nonrobust_features", "robust_features", "feature_usefulness", "recipe_search")
COLOURS = {"train": "#4477aa", "construct": "#ee6677", "robustness": "#228833"}
OTHER = "#ccbb44"


def stages_of(name: str, seeds: str | None) -> list[Stage]:
    """Return the stages of a sweep at the paper's size, inputs first, each on one GPU."""
    module = load(name)
    options = Options(preset="cifar10", plan=True, seeds=seeds)
    grid = options.grid(getattr(module, "axes", lambda preset: {}))
    return list(getattr(module, name)(grid).on(Resources(gpus=1)).stages())


def wrong_by(factor: float) -> Callable[[Stage], float]:
    """Return what stages take when their estimates are off by `factor` at one standard deviation; by key, no clock."""
    return lambda stage: stage.cost() * math.exp(random.Random(stage.key).gauss(0, math.log(factor)))


def draw(schedule: Schedule, title: str) -> bytes:
    """Return a picture: what every GPU does, and below it how many work."""
    hours = schedule.wall / 3600
    lanes = Panel(left=60, top=40, width=1000, height=520, x=(0, hours), y=(0, schedule.slots), title=title)
    for span in schedule.spans:
        colour = COLOURS.get(span.stage.kind.name, OTHER)
        for slot in span.slots:
            ends = ((span.start / 3600, slot + 0.5), (span.end / 3600, slot + 0.5))
            lanes.curve(ends, colour=colour, width=0.8 * lanes.height / schedule.slots)
    counts = Panel(
        left=60, top=610, width=1000, height=110, x=(0, hours), y=(0, schedule.slots), title="", note="hours"
    )
    moments = [schedule.wall * i / 500 for i in range(501)]
    shares = [schedule.utilisation(a, b) for a, b in pairwise(moments)]
    steps = [(moments[i] / 3600, shares[i] * schedule.slots) for i in range(500)]
    counts.band([(0, 0), *steps, (hours, 0)], colour=COLOURS["train"])
    counts.curve(steps, colour=COLOURS["train"])
    legend = [*((colour, kind) for kind, colour in COLOURS.items()), (OTHER, "everything else")]
    return picture([lanes, counts], title=title, width=1100, height=800, legend=legend)


def report(name: str, stages: list[Stage], gpus: int, takes: Callable[[Stage], float]) -> Schedule:
    """Simulate one list of stages, print a line about it, and return the schedule."""
    began = time.perf_counter()
    run = simulate(stages, gpus, takes=takes, handout=HANDOUT, ahead=ahead_of(gpus))
    seconds = time.perf_counter() - began
    chain, work = longest_chain(stages, gpus, takes), sum(map(takes, stages))
    print(
        f"{name:20} {len(stages):5} stages {work / 3600:7.0f} GPU-hours: {run.wall / 3600:6.2f} h; bound "
        f"{max(chain, work / gpus) / 3600:6.2f} h (chain {chain / 3600:5.2f}, work over GPUs "
        f"{work / gpus / 3600:6.2f}); GPUs work {run.utilisation():4.0%} of the time, "
        f"{run.utilisation(0, run.tail):4.0%} until the last hand-out; {seconds:.2f} s to simulate"
    )
    return run


def main() -> None:
    """Print a line for each sweep and for all together, and draw the latter."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, default=64)
    parser.add_argument("--seeds", help="by comma (default: the preset's three)")
    parser.add_argument("--wrong", type=float, default=1.0, help="factor by which estimates are wrong (default: 1)")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    takes = wrong_by(options.wrong)
    plans = {name: stages_of(name, options.seeds) for name in SWEEPS}
    for name, stages in plans.items():
        report(name, stages, options.gpus, takes)
    together = list(walk([stage for stages in plans.values() for stage in stages]))
    run = report("all together", together, options.gpus, takes)
    seeds = len(options.seeds.split(",")) if options.seeds else 3
    title = f"{len(together)} stages of {len(plans)} sweeps, {seeds} seeds, on {options.gpus} GPUs"
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "schedule.svg").write_bytes(draw(run, title))
    print(f"drawn: {options.out / 'schedule.svg'}")


if __name__ == "__main__":
    main()
