"""Time of a run in addition to its stages: the start of Ray, the first stage of each process, and the end of the run.

A run on this machine stores what it measured in its run file; the next run in the same store uses the medians over all
sweeps. Without any, the seconds of one machine are scaled by the time that this machine needs to compile a fixed piece
of Python, because the start consists of imports.
"""

import platform
import statistics
import time
from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass, fields
from functools import lru_cache

from nrf_ray.errors import ConfigError
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.plan import Plan
from nrf_ray.graph.store import Store
from nrf_ray.page.outline import read_outline

HANDOUT = 0.02
"""Seconds that the driver needs for one stage; tests/benchmarks/orchestration.py measures them."""
SOURCE = "\n".join(f"def f{i}(a, b):\n    return [x * {i} + b for x in a if x > b]" for i in range(100))
"""Fixed piece of Python."""
TRIES = 5
"""Times that it is compiled; the fastest counts."""


@dataclass(frozen=True, kw_only=True)
class Overheads:
    """Seconds of one run in addition to its stages."""

    start: float
    """Seconds from the start of the command until the first stage has a process: Ray's start and imports."""
    first: float
    """Seconds of the first stage of each process in addition to its work: data, more imports, choice of kernels."""
    end: float
    """Seconds from the end of the last stage to the end of the command: Ray's end, tables, summary."""


IN_COMPILATIONS = Overheads(start=1800.0, first=150.0, end=300.0)
"""Overheads in multiples of the time in which `SOURCE` is compiled (2.8 ms on a core of a Zen 3, fastest of 100).

Measured on a busy machine, where it took 4.2 ms: the process that is forked imports for 1,600 (CPU time, n = 5), after
the driver has planned for 150; `first` and `end` are those of two runs (80 and 310; 240 and 370).
"""


@lru_cache
def compilation_seconds() -> float:
    """Return the seconds of this thread's CPU time in which this machine compiles `SOURCE`."""
    took = []
    for _ in range(TRIES):
        began = time.thread_time()
        compile(SOURCE, "fixed", "exec")
        took.append(time.thread_time() - began)
    return min(took)


def typical() -> Overheads:
    """Return the overheads of a run on a machine like this one, if no run has measured them."""
    seconds = compilation_seconds()
    return Overheads(**{name: part * seconds for name, part in asdict(IN_COMPILATIONS).items()})


def learnt(store: Store) -> Overheads:
    """Return the median overheads of the last runs of the sweeps in `store` on this machine, or the typical ones."""
    found = [seen for sweep in store.blobs.folders("sweeps") if (seen := _measured_in(store, sweep))]
    if not found:
        return typical()
    return Overheads(**{part.name: statistics.median(seen[part.name] for seen in found) for part in fields(Overheads)})


def _measured_in(store: Store, sweep: str) -> Mapping[str, float]:
    """Return the overheads in the run file of `sweep`; empty if it has none, is damaged or from another machine."""
    try:
        outline = read_outline(store, sweep)
    except ConfigError:
        return {}
    whole = outline.overheads.keys() >= {part.name for part in fields(Overheads)}
    return outline.overheads if whole and outline.process.get("host") == platform.node() else {}


def measured(plan: Plan, took: Mapping[Key, float], firsts: Set[Key], *, start: float, end: float) -> Overheads | None:
    """Return the overheads of a finished run of `plan`; None if no stage was the first of its process.

    `took` has the measured seconds of its stages, `firsts` those that were the first of their process. Their work is
    estimated as the plan does, corrected by the other stages of the same kind.
    """
    ratios: dict[str, list[float]] = {}
    excess = []
    steps = [step for step in plan.steps if step.seconds and took.get(step.stage.key)]
    for step in steps:
        if step.stage.key not in firsts:
            ratios.setdefault(step.stage.kind.name, []).append(took[step.stage.key] / step.seconds)
    for step in steps:
        if step.stage.key in firsts:
            ratio = statistics.median(ratios.get(step.stage.kind.name, [1.0]))
            excess.append(took[step.stage.key] - ratio * step.seconds)
    return Overheads(start=start, first=max(0.0, statistics.median(excess)), end=end) if excess else None
