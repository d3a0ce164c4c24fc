"""Forecast of how long a sweep will take and, afterwards, the error of the forecast.

A forecast is for a machine: this one, or a number of devices of a named kind. The seconds of each stage come from
records of such machines in the store, or from the formula of its kind; the wall time, from simulating the schedule.
"""

import math
import os
import re
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nrf_ray.display.printing import span
from nrf_ray.errors import ConfigError, lookup
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.estimates import Basis, Estimates
from nrf_ray.graph.plan import Plan, State
from nrf_ray.graph.record import accelerators, cpuinfo, launch_provenance
from nrf_ray.graph.schedule import longest_chain, lower_bound, simulate
from nrf_ray.graph.stage import Resources
from nrf_ray.stages.costs import DEVICES

START_SECONDS = 8.0
"""Seconds for Ray's start and end and the first imports in every process, on 2 cores."""
MOST_DEVICES = 10_000
"""Maximum number of cores or accelerators in a simulated schedule, which keeps an entry for each of them."""
WITHOUT_AVX512 = 2.1
"""Slowdown factor of a core of an x86 processor without AVX-512, whose vectors are half as wide.

For the main job, two cores of a Zen 3 took 471 and 491 s, and two cores with AVX-512 204 to 214 s (n = 3). For the
planted sets, the former took 1,036 s and the latter 507 s (n = 1 each).
"""
HANDOUT_SECONDS = 0.02
"""Seconds that the driver needs for one stage; tests/benchmarks/orchestration.py measures them."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Machine that a forecast is for."""

    name: str
    """Model of the processor or of the accelerator, by which records are matched."""
    count: int
    """Number of cores or accelerators."""
    resources: Resources
    """Resources that every stage asks for."""
    slower: float = 1.0
    """Slowdown factor relative to the machine where the stages' formulas were measured, if known beforehand."""

    @property
    def slots(self) -> int:
        """Number of stages that run at once. Sharing an accelerator is assumed to gain nothing."""
        share = self.resources.gpus or self.resources.cpus
        return max(1, int(self.count // max(1.0, share)))

    def is_like(self, provenance: Mapping[str, Any]) -> bool:
        """Return whether a record with this provenance comes from such a machine."""
        if provenance.get("device") != self.resources.device or provenance.get("gpus") != self.resources.gpus:
            return False
        names = provenance.get("accelerators", []) if self.resources.gpus else [provenance.get("processor", "")]
        return any(self.name.lower() in name.lower() for name in names)

    def __str__(self) -> str:
        """Return the number and the name of the devices."""
        return f"{self.count} x {self.name}" if self.resources.gpus else f"{self.count} cores of {self.name}"


def this_machine(resources: Resources) -> Machine:
    """Return the machine that this process runs on, for stages that ask for `resources`."""
    if not resources.gpus:
        return _cores(os.cpu_count() or 1, resources)
    found = accelerators()
    return Machine(name=found[0] if found else "a100", count=max(1, len(found)), resources=resources)


def _cores(count: int, resources: Resources) -> Machine:
    """Return `count` cores like those of this machine. Processors that list no flags are assumed to be fast."""
    flags = next((line.split() for line in cpuinfo() if line.startswith("flags")), ["avx512f"])
    slower = 1.0 if "avx512f" in flags else WITHOUT_AVX512
    return Machine(name=launch_provenance()["processor"], count=count, resources=resources, slower=slower)


def machine_named(text: str, resources: Resources) -> Machine:
    """Return the machine that `text` names, as in 8xa100 or 16xcpu, for stages that ask for `resources`."""
    match = re.fullmatch(r"([1-9][0-9]*)x([a-z0-9]+)", text)
    known = {name: name for name in DEVICES if name != "cuda"}
    if match is None:
        raise ConfigError(f"--plan-on {text!r} is not a machine; write it as 8xa100 (known: {', '.join(known)})")
    if int(match[1]) > MOST_DEVICES:
        raise ConfigError(f"--plan-on {text} is too many to simulate; give at most {MOST_DEVICES} devices")
    name = lookup(known, match[2], "device")
    if name == "cpu":
        return _cores(int(match[1]), Resources())
    return Machine(name=name, count=int(match[1]), resources=resources if resources.gpus else Resources(gpus=1))


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Forecast for a plan."""

    kinds: Mapping[str, "KindForecast"]
    """Forecasts by kind of stage, in the order of the plan."""
    slots: int
    """Number of stages that run at once."""
    wall: float
    """Seconds from the start of the command to its end."""
    bound: float
    """Seconds of work that no schedule can beat."""
    chain: float
    """Seconds of the longest chain of stages."""
    work: float
    """Seconds of all stages, one after the other."""


@dataclass(frozen=True, kw_only=True)
class KindForecast:
    """Forecast for the stages of one kind."""

    count: int
    """Number of stages that have to run."""
    seconds: float
    """Seconds of all of them, one after the other."""
    basis: Counter[Basis]
    """Number of stages by basis of their estimates."""


def forecast(plan: Plan, estimates: Estimates, slots: int) -> Forecast:
    """Return the forecast for running `plan`, whose costs come from `estimates`, on `slots` slots."""
    steps = [step for step in plan.steps if step.state is not State.CACHED]
    kinds = {}
    for kind in dict.fromkeys(step.stage.kind.name for step in steps):
        own = [step for step in steps if step.stage.kind.name == kind]
        basis = Counter(estimates.basis(step.stage) for step in own)
        kinds[kind] = KindForecast(count=len(own), seconds=sum(step.seconds for step in own), basis=basis)
    todo = plan.todo()
    run = simulate(todo, slots, cost=plan.cost, handout=HANDOUT_SECONDS)
    return Forecast(
        kinds=kinds,
        slots=slots,
        wall=START_SECONDS + run.wall if todo else 0.0,
        bound=lower_bound(todo, slots, plan.cost),
        chain=longest_chain(todo, slots, plan.cost),
        work=sum(kind.seconds for kind in kinds.values()),
    )


def forecast_lines(expected: Forecast, machine: Machine) -> list[str]:
    """Return a forecast as text, one line for each kind of stage and two for the whole."""
    width = max(map(len, expected.kinds), default=0) + 2
    lines = []
    for name, kind in expected.kinds.items():
        basis = ", ".join(f"{count} by {basis}" for basis, count in kind.basis.items())
        lines.append(f"expected  {name:{width}}{kind.count:6} stages {span(kind.seconds):>11}  {basis}")
    if lines:
        lines += [
            f"expected on {machine}: {span(expected.wall)} from start to end",
            f"no schedule takes less than {span(expected.bound)}: {span(expected.work)} of work on "
            f"{_slots(expected)}; the longest chain of stages takes {span(expected.chain)}",
        ]
    return lines


def error_lines(plan: Plan, took: Mapping[Key, float], expected: Forecast, wall: float) -> list[str]:
    """Return a comparison of `expected` with the measured times: `took` has the seconds of the stages that ran."""
    pairs = [(step, took[step.stage.key]) for step in plan.steps if step.stage.key in took]
    parts = []
    for kind in expected.kinds:
        own = [(step.seconds, seconds) for step, seconds in pairs if step.stage.kind.name == kind]
        said, true = sum(said for said, _ in own), sum(true for _, true in own)
        if said and true:
            parts.append(f"{kind} {_error(said, true)}")
    if not parts:
        return []
    off = statistics.median(abs(math.log(true / step.seconds)) for step, true in pairs if step.seconds and true)
    return [
        f"expected {span(expected.wall)} from start to end on {_slots(expected)}, took {span(wall)}: "
        f"{_error(expected.wall, wall)}",
        f"error of the estimates (expected over measured): {', '.join(parts)}; "
        f"half of the stages within a factor of {math.exp(off):.2f}",
    ]


def _slots(expected: Forecast) -> str:
    return f"{expected.slots} {'slot' if expected.slots == 1 else 'slots'}"


def _error(said: float, true: float) -> str:
    return f"{said / true - 1:+.0%}"
