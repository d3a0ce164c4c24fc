"""The model of a run against runs that were recorded: their stages, in `recorded_runs.json`, and how long they took.

The runs were on two cores of a Zen 3 beside other work, so a stage took 2 to 5 times as long in one run as in another:
they show how stages make up a run, not how fast a machine is. A stage is kind, architecture, inputs, seconds, seconds
by the formulas of that day, seconds from the start of the command to its own start, and number of its process.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nrf_ray.graph.canonical import Key
from nrf_ray.graph.estimates import Estimates, learn_from
from nrf_ray.graph.plan import Plan, State, Step
from nrf_ray.graph.record import COST_FORM, Record
from nrf_ray.graph.schedule import ahead_of, simulate
from nrf_ray.graph.stage import Stage, StageKind
from nrf_ray.run.forecast import Grounds, forecast
from nrf_ray.run.overheads import HANDOUT, Overheads, measured

RUNS: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "recorded_runs.json").read_text())
SLOTS = 2


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One stage of a recorded run."""

    run: str
    at: int
    arch: str | None
    expected: float
    seconds: float
    first: bool
    """Whether it was the first stage of its process."""


KINDS: dict[str, StageKind] = {}


def kind(name: str) -> StageKind:
    def cost(handle: Stage) -> float:
        return float(handle.config.expected)

    return KINDS.setdefault(
        name,
        StageKind(name=name, version=1, body=cost, config_type=Recorded, inputs={}, cost=cost, gathers=True),
    )


def stages_of(run: str) -> list[Stage]:
    rows = RUNS[run]["stages"]
    first = {
        min((row[5], at) for at, row in enumerate(rows) if row[6] == process)[1] for process in {r[6] for r in rows}
    }
    made: list[Stage] = []
    for at, (name, arch, inputs, seconds, expected, _, _) in enumerate(rows):
        config = Recorded(run=run, at=at, arch=arch, expected=expected or 0.1, seconds=seconds, first=at in first)
        made.append(kind(name)(config, **{f"i{i}": made[i] for i in inputs}))
    return made


def records_of(stages: list[Stage]) -> list[Record]:
    return [
        Record(
            stage=stage.kind.name, version=1, key=stage.key, config={}, inputs={}, files=(), metrics={},
            provenance={
                "seconds": stage.config.seconds, "expected_seconds": stage.config.expected, "arch": stage.config.arch,
                "expected_form": COST_FORM, "device": "cpu", "first_of_process": stage.config.first,
            },
        )
        for stage in stages
    ]  # fmt: skip


def plan_of(stages: list[Stage], estimates: Estimates) -> Plan:
    steps = (Step(stage=stage, state=State.READY, reason="", seconds=estimates.seconds(stage)) for stage in stages)
    return Plan(tuple(steps))


def overheads_of(run: str) -> Overheads:
    """Return the overheads that the run itself would have stored."""
    stages = stages_of(run)
    plan = plan_of(stages, Estimates())
    took: dict[Key, float] = {stage.key: stage.config.seconds for stage in stages}
    firsts = {stage.key for stage in stages if stage.config.first}
    found = measured(plan, took, firsts, start=RUNS[run]["start"], end=RUNS[run]["end"])
    assert found is not None
    return found


@pytest.mark.parametrize("run", list(RUNS))
def test_the_seconds_of_the_stages_make_up_the_time_of_the_run(run: str) -> None:
    """What is not explained: processes that start one after the other, and code digests in each of them."""
    about, stages = RUNS[run], stages_of(run)
    schedule = simulate(stages, SLOTS, takes=lambda s: s.config.seconds, handout=HANDOUT, ahead=ahead_of(SLOTS))
    whole = about["start"] + schedule.wall + about["end"]
    assert 0.88 <= whole / about["wall"] <= 1.03
    naive = about["start"] + sum(stage.config.seconds for stage in stages) / SLOTS + about["end"]
    assert abs(whole - about["wall"]) <= abs(naive - about["wall"]) + 0.01 * about["wall"]


@pytest.mark.parametrize(
    ("run", "known", "most"),
    [
        ("robust, after smoke", ("smoke",), 0.15),
        ("nonrobust, after both", ("smoke", "robust, after smoke"), 0.25),
        ("recipes, after all three", ("smoke", "robust, after smoke", "nonrobust, after both"), 0.2),
        ("usefulness, after robust", ("robust",), 0.25),
    ],
)
def test_a_run_is_forecast_from_the_records_and_overheads_of_other_grids(
    run: str, known: tuple[str, ...], most: float
) -> None:
    """The runs of a case followed each other within minutes, under about the same load; each error is said before."""
    estimates = learn_from(record for one in known for record in records_of(stages_of(one)))
    seen = [overheads_of(one) for one in known]
    overheads = Overheads(
        start=sorted(one.start for one in seen)[len(seen) // 2],
        first=sorted(one.first for one in seen)[len(seen) // 2],
        end=sorted(one.end for one in seen)[len(seen) // 2],
    )
    plan = plan_of(stages_of(run), estimates)
    expected = forecast(Grounds(plan=plan, estimates=estimates, overheads=overheads), SLOTS)
    wall, said = RUNS[run]["wall"], RUNS[run]["said"]
    error = abs(expected.wall / wall - 1)
    assert error <= most
    assert error < abs(said / wall - 1) / 2, "half the error of what was said then, or less"
