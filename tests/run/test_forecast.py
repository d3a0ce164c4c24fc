"""Forecasts: which machine, how long, on what ground, and the error afterwards."""

import platform
import re
from dataclasses import replace
from pathlib import Path

import pytest

from nrf_ray.errors import ConfigError
from nrf_ray.graph.estimates import Estimates, learn
from nrf_ray.graph.execute import execute
from nrf_ray.graph.plan import Plan, make_plan
from nrf_ray.graph.record import launch_provenance, record_of
from nrf_ray.graph.stage import Resources, Stage, walk
from nrf_ray.graph.store import Store
from nrf_ray.run.forecast import Grounds, error_lines, forecast, forecast_lines
from nrf_ray.run.machine import ALL_CORES, machine_named, this_machine
from nrf_ray.run.overheads import Overheads
from nrf_ray.stages.devices import DEVICES
from tests.benchmarks import schedule
from tests.graph.toys import chain, node

OVERHEADS = Overheads(start=8.0, first=1.0, end=2.0)


def grounds(plan: Plan) -> Grounds:
    return Grounds(plan=plan, estimates=Estimates(), overheads=OVERHEADS)


def test_the_forecast_of_a_chain_and_of_what_runs_beside_it(tmp_path):
    store = Store.open(str(tmp_path / "store"), create=True)
    first, second = chain("first", "second")
    goals = [second, *(node(f"n{i}", seconds=1) for i in range(4))]
    execute(first, store)
    expected = forecast(grounds(make_plan(goals, store)), slots=2)
    assert expected.kinds["toy_text"].count == 5
    assert (expected.work, expected.chain, expected.bound) == (5, 1, 2.5)
    assert expected.wall == pytest.approx(8 + 1 + 3 + 2, abs=0.2)
    lines = forecast_lines(expected, this_machine(Resources()))
    assert "5 by formula" in lines[0]
    assert "from start to end" in lines[1]


def test_nothing_to_run_takes_no_time(tmp_path):
    store = Store.open(str(tmp_path / "store"), create=True)
    execute(node("a"), store)
    expected = forecast(grounds(make_plan([node("a")], store)), slots=2)
    assert (expected.wall, expected.kinds) == (0, {})
    assert forecast_lines(expected, this_machine(Resources())) == []


def test_after_a_run_the_error_is_said_by_kind(tmp_path):
    store = Store.open(str(tmp_path / "store"), create=True)
    plan = make_plan([node("a", seconds=2), node("b", seconds=4)], store)
    took = {step.stage.key: step.seconds * 2 for step in plan.steps}
    whole, kinds = error_lines(plan, took, forecast(grounds(plan), slots=1), wall=34.0)
    assert whole == "expected 17 s from start to end on 1 slot, took 34 s: -50%"
    assert kinds.endswith("toy_text -50%; half of the stages within a factor of 2.00")
    assert error_lines(plan, {}, forecast(grounds(plan), slots=1), wall=1.0) == []


@pytest.mark.parametrize(
    ("cpuinfo", "slower"),
    [
        ("flags\t\t: sse avx2 avx512f bmi1\n", 1.0),
        ("flags\t\t: sse avx2\n", 2.1),
        ("Features\t: fp asimd\n", 1.0),
        ("", 1.0),
    ],
    ids=["AVX-512", "AVX2", "ARM", "no Linux"],
)
def test_what_no_record_tells_is_expected_by_the_processor(tmp_path, monkeypatch, cpuinfo, slower):
    monkeypatch.setattr("nrf_ray.run.machine.cpuinfo", lambda: cpuinfo.splitlines())
    machine, store = this_machine(Resources()), Store.open(str(tmp_path / "store"), create=True)
    crowded = machine_named("16xcpu", Resources())
    assert (machine_named("1xcpu", Resources()).slower, crowded.slower) == (slower, slower * ALL_CORES)
    estimates = learn(store, store.contents(), machine.is_like, crowded.seconds)
    assert estimates.seconds(node("a", seconds=2)) == 2 * slower * ALL_CORES


@pytest.mark.parametrize(
    ("text", "resources", "slots"),
    [
        pytest.param("64xa100", Resources(), 64, id="one each where none was asked for"),
        pytest.param("64xa100", Resources(gpus=2), 32, id="two each"),
        pytest.param("8xa100", Resources(gpus=0.25), 8, id="sharing gains nothing"),
        pytest.param("16xcpu", Resources(), 16, id="cores like these"),
    ],
)
def test_named_machines(text: str, resources: Resources, slots: int):
    assert machine_named(text, resources).slots == slots


def test_the_guide_names_every_device_once():
    guide = (Path(__file__).parents[2] / "analysis" / "guide.md").read_text()
    said = re.search(r"`--plan-on` takes a number of one of these: ([^.]*)\.", guide)
    assert said is not None
    assert re.split(r",\s+", said[1]) == list(DEVICES)


@pytest.mark.parametrize("text", ["a100", "0xa100", "8xabacus", "8 x a100", "8xcuda", "99999xa100"])
def test_machines_that_nobody_knows_are_refused(text: str):
    with pytest.raises(ConfigError, match="a100"):
        machine_named(text, Resources())


def test_records_of_other_machines_do_not_count():
    here = {"device": "cpu", "gpus": 0.0, **launch_provenance()}
    machine = this_machine(Resources())
    assert machine.is_like(here)
    assert not machine.is_like({**here, "processor": "another"})
    assert not machine.is_like({"device": "cpu", "processor": here["processor"], "host": platform.node()})
    a100 = machine_named("8xa100", Resources())
    on_gpu = {**here, "device": "cuda", "gpus": 1.0, "accelerators": ["NVIDIA A100-SXM4-80GB"]}
    assert a100.is_like(on_gpu)
    assert not a100.is_like({**on_gpu, "gpus": 0.5})
    assert not replace(a100, name="h100").is_like(on_gpu)
    assert not machine_named("8xl4", Resources()).is_like({**on_gpu, "accelerators": ["NVIDIA L40S"]})


def test_records_of_a_gpu_replace_its_data_sheet(tmp_path):
    store, h100 = Store.open(str(tmp_path / "store"), create=True), machine_named("8xh100", Resources())
    for i in range(3):
        record = record_of(node(str(i), seconds=2), [], {}, 5.0, "now")
        told = {**record.provenance, "device": "cuda", "gpus": 1.0, "accelerators": ["NVIDIA H100 80GB HBM3"]}
        store.commit(replace(record, provenance=told))
    new = node("new", seconds=4).on(h100.resources, {})
    assert learn(store, store.contents(), h100.is_like, h100.seconds).seconds(new) == 10
    b200 = machine_named("8xb200", Resources())
    assert learn(store, store.contents(), b200.is_like, b200.seconds).seconds(new) == 4


def test_sixty_four_gpus_are_busy_with_ten_seeds_of_the_paper():
    seeds = ",".join(map(str, range(10)))
    plans = [schedule.stages_of(name, seeds) for name in schedule.SWEEPS]
    run = schedule.report("all", list(walk([stage for stages in plans for stage in stages])), 64, Stage.cost)
    assert run.utilisation(0, run.tail) >= 0.95
