"""Overheads of a run: measured at its end, learnt by the next run in the same store, and typical ones until then."""

import json
import platform
from dataclasses import asdict
from pathlib import Path

import pytest

from nrf_ray.graph.plan import make_plan
from nrf_ray.graph.process import identity
from nrf_ray.graph.store import Store
from nrf_ray.page.outline import Outline, outline_name
from nrf_ray.page.snapshot import RunState
from nrf_ray.run import overheads
from nrf_ray.run.overheads import IN_COMPILATIONS, Overheads, compilation_seconds, learnt, measured, typical
from tests.graph.toys import node


@pytest.fixture
def one(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"), create=True)


def ran(store: Store, sweep: str, found: dict[str, float], **process: str) -> None:
    outline = Outline(
        sweep=sweep, command="", began="2026-01-01T00:00:00+00:00", state=RunState.FINISHED, expected=1.0,
        process=identity() | process, stages=(), rows=(), overheads=found,
    )  # fmt: skip
    store.blobs.replace(outline_name(sweep), outline.to_bytes())


def test_the_first_stage_of_a_process_is_measured_against_others_of_its_kind(one: Store) -> None:
    stages = [node(str(i), seconds=2) for i in range(5)]
    plan = make_plan(stages, one)
    took = dict(zip((stage.key for stage in stages), (9.0, 7.0, 3.0, 3.2, 2.9), strict=True))
    found = measured(plan, took, {stages[0].key, stages[1].key}, start=8.0, end=2.0)
    assert found == Overheads(start=8.0, first=pytest.approx(5.0), end=2.0), "3 s is the median of the others"
    assert measured(plan, took, set(), start=8.0, end=2.0) is None
    fast = {stages[0].key: 0.1, stages[2].key: 3.0}
    assert measured(plan, fast, {stages[0].key}, start=8.0, end=2.0) == Overheads(start=8.0, first=0.0, end=2.0)


def test_a_run_is_expected_to_begin_and_end_as_the_last_ones_on_this_machine_did(one: Store) -> None:
    for sweep, start in (("a", 6.0), ("b", 30.0), ("c", 8.0)):
        ran(one, sweep, asdict(Overheads(start=start, first=2.0, end=1.0)))
    ran(one, "elsewhere", asdict(Overheads(start=100.0, first=2.0, end=1.0)), host=f"not {platform.node()}")
    ran(one, "killed", {})
    ran(one, "of another version", {"start": 100.0})
    one.blobs.replace(outline_name("damaged"), b"{}")
    assert learnt(one) == Overheads(start=8.0, first=2.0, end=1.0)


def test_without_a_run_on_this_machine_overheads_are_typical(one: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ran(one, "elsewhere", asdict(Overheads(start=100.0, first=2.0, end=1.0)), host=f"not {platform.node()}")
    for seconds in (0.002, 0.004):
        monkeypatch.setattr(overheads, "compilation_seconds", lambda seconds=seconds: seconds)
        assert learnt(one) == typical()
        assert typical().start == IN_COMPILATIONS.start * seconds


def test_the_speed_of_this_machine_is_measured_once_and_in_less_than_a_second() -> None:
    assert 0 < compilation_seconds() < 1.0
    assert compilation_seconds() == compilation_seconds()


def test_a_run_file_of_before_is_read_as_without_overheads() -> None:
    outline = Outline(
        sweep="s", command="", began="2026-01-01T00:00:00+00:00", expected=None, process=identity(), stages=(), rows=()
    )
    written = json.loads(outline.to_bytes())
    del written["overheads"]
    assert Outline.from_json(written).overheads == {}
