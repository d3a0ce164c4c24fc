"""Forecast of how long a sweep will take and, afterwards, the error of the forecast.

The seconds of each stage come from records of such a machine in the store, or from the formula of its kind; the wall
time, from simulating the schedule with the overheads of a run.
"""

import math
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from nrf_ray.display.printing import span
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.estimates import Basis, Estimates
from nrf_ray.graph.plan import Plan, State
from nrf_ray.graph.schedule import ahead_of, longest_chain, lower_bound, simulate
from nrf_ray.graph.stage import workers_of
from nrf_ray.run.machine import Machine
from nrf_ray.run.overheads import HANDOUT, Overheads


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
    """Seconds of all stages, one worker after the other."""


@dataclass(frozen=True, kw_only=True)
class KindForecast:
    """Forecast for the stages of one kind."""

    count: int
    """Number of stages that have to run."""
    seconds: float
    """Seconds of all of them, one worker after the other."""
    basis: Counter[Basis]
    """Number of stages by basis of their estimates."""


@dataclass(frozen=True, kw_only=True)
class Grounds:
    """Data that a forecast follows from."""

    plan: Plan
    """Plan, whose costs come from `estimates`."""
    estimates: Estimates
    """Estimates of the stages, on the machine of the forecast."""
    overheads: Overheads
    """Time of the run in addition to its stages."""


def forecast(grounds: Grounds, slots: int) -> Forecast:
    """Return the forecast for a run on `slots` slots."""
    plan, estimates, overheads = grounds.plan, grounds.estimates, grounds.overheads
    steps = [step for step in plan.steps if step.state is not State.CACHED]
    kinds = {}
    for kind in dict.fromkeys(step.stage.kind.name for step in steps):
        own = [step for step in steps if step.stage.kind.name == kind]
        basis = Counter(estimates.basis(step.stage) for step in own)
        seconds = sum(step.seconds * workers_of(step.stage) for step in own)
        kinds[kind] = KindForecast(count=len(own), seconds=seconds, basis=basis)
    todo = plan.todo()
    run = simulate(todo, slots, cost=plan.cost, handout=HANDOUT, ahead=ahead_of(slots), first=overheads.first)
    return Forecast(
        kinds=kinds,
        slots=slots,
        wall=overheads.start + run.wall + overheads.end if todo else 0.0,
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
