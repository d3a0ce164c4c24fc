"""The plan: what has to run and why; nobody looks behind what is committed, and looking changes nothing."""

import json
import os
import platform
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from nrf_ray.graph import plan as plan_module
from nrf_ray.graph.execute import execute, run_inline
from nrf_ray.graph.lease import Leases
from nrf_ray.graph.plan import State, make_plan
from nrf_ray.graph.process import identity
from nrf_ray.graph.stage import Resources, Stage
from nrf_ray.graph.store import LEASE, RECORD, Store, place_of
from tests.graph import toys
from tests.graph.toys import chain, flip, node, path_of, refuse, tree


def states(goals: list[Stage], store: Store) -> dict[str, tuple[State, str]]:
    return {step.stage.label: (step.state, step.reason) for step in make_plan(goals, store).steps}


def uncommit(store: Store, *stages: Stage) -> None:
    for stage in stages:
        path_of(store, stage, RECORD).unlink()


def test_of_an_empty_store_everything_has_to_run(store: Store):
    a, b, c = chain("a", "b", "c")
    d = node("d", a, b)
    made = make_plan([c, d], store)
    assert [(step.stage.label, step.state, step.reason) for step in made.steps] == [
        ("a", State.READY, "not in the store"),
        ("b", State.WAITING, "for a"),
        ("c", State.WAITING, "for b"),
        ("d", State.WAITING, "for a, b"),
    ]
    assert [stage.label for stage in made.todo()] == ["a", "b", "c", "d"]
    assert made.counts() == {State.READY: 1, State.WAITING: 3}


def test_cost_is_that_of_what_has_to_run(store: Store):
    a = node("a", seconds=2)
    b = node("b", a, seconds=3)
    execute(a, store)
    made = make_plan([b, node("c", a, seconds=0.5)], store)
    assert [step.seconds for step in made.steps] == [0, 3, 0.5]
    assert made.seconds() == 3.5


def test_work_of_cores_and_of_gpus_is_told_apart(store: Store):
    on_gpu = replace(node("a", seconds=2), resources=Resources(gpus=0.5))
    made = make_plan([node("b", on_gpu, seconds=3)], store)
    assert (made.seconds(), made.seconds("cuda")) == (3, 2)


def test_nobody_looks_behind_a_committed_goal(store: Store):
    a, b, c = chain("a", "b", "c")
    run_inline([c], store)
    uncommit(store, a, b)
    assert list(states([c], store)) == ["c"]
    assert make_plan([c], store).todo() == []


def test_an_ancestor_is_listed_when_another_goal_needs_it(store: Store):
    a, b, c = chain("a", "b", "c")
    run_inline([c], store)
    uncommit(store, a, b)
    listed = states([c, node("d", a)], store)
    assert {name: state for name, (state, _) in listed.items()} == {
        "a": State.READY,
        "c": State.CACHED,
        "d": State.WAITING,
    }


def test_a_committed_input_is_shown_and_not_looked_behind(store: Store):
    a, _, c = chain("a", "b", "c")
    run_inline([c], store)
    uncommit(store, a, c)
    assert {name: state for name, (state, _) in states([c], store).items()} == {"b": State.CACHED, "c": State.READY}


def test_cached_says_how_long_it_took(store: Store):
    a = node("a")
    execute(a, store)
    assert states([a], store) == {"a": (State.CACHED, "built in 0.0 s")}


def test_failed_before_says_the_error_and_what_it_blocks(store: Store, ran: list[str]):
    a, b, c = chain("a", "b", "c")
    d = node("d", b, node("other", a))
    toys.HOOKS["b"] = refuse
    run_inline([c, d], store)
    assert states([c, d], store) == {
        "a": (State.CACHED, "built in 0.0 s"),
        "b": (State.FAILED, "ValueError: b was told to fail; it is tried again"),
        "c": (State.BLOCKED, "by b, which failed before"),
        "other": (State.CACHED, "built in 0.0 s"),
        "d": (State.BLOCKED, "by b, which failed before"),
    }
    assert [stage.label for stage in make_plan([c, d], store).todo()] == ["b", "c", "d"]


def test_running_elsewhere_says_where(store: Store):
    a, b = chain("a", "b")
    with Leases(store) as other:
        other.take(a)
        listed = states([b], store)
    assert listed["a"] == (State.ELSEWHERE, f"process {os.getpid()} on {platform.node()}")
    assert listed["b"] == (State.WAITING, "for a")
    assert states([b], store)["a"] == (State.READY, "not in the store")


def test_a_lease_of_a_dead_driver_is_not_running_elsewhere(store: Store):
    a = node("a")
    owner = {"driver": "d", "work": "run", **identity(), "started": "1", "beats": 1}
    store.blobs.put_new("drivers/d.json", json.dumps(owner).encode())
    store.blobs.put_new(place_of(a).file(LEASE), b'{"driver": "d"}')
    assert states([a], store)["a"][0] is State.READY


def test_other_code_is_said_and_does_not_make_it_run(store: Store, monkeypatch: pytest.MonkeyPatch):
    a = node("a")
    execute(a, store)
    monkeypatch.setattr(plan_module, "source_digest", lambda function: "0" * 64)
    assert states([a], store) == {
        "a": (State.CACHED, "built with different code of toy_text: raise its version if results change")
    }
    assert make_plan([a], store).todo() == []


def test_a_digest_of_an_older_form_is_no_other_code(store: Store, monkeypatch: pytest.MonkeyPatch):
    a = node("a")
    execute(a, store)
    monkeypatch.setattr(plan_module, "FORM", 1 + plan_module.FORM)
    ((state, reason),) = states([a], store).values()
    assert state is State.CACHED
    assert reason.endswith("; its code digest has an older form and cannot be compared")


def test_the_same_stage_twice_is_one_step(store: Store):
    a = node("a")
    assert len(make_plan([a, node("a"), node("b", a)], store).steps) == 2


def test_no_goals_no_plan(store: Store):
    assert make_plan([], store).steps == ()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda store, a, b: None, id="a store in order"),
        pytest.param(lambda store, a, b: path_of(store, b).unlink(), id="data gone"),
        # Regression: reading a damaged record moves its artifact into the quarantine.
        pytest.param(lambda store, a, b: flip(path_of(store, a, RECORD), at=200), id="damaged record"),
    ],
)
def test_making_a_plan_writes_nothing(store: Store, ran: list[str], damage):
    a, b, c = chain("a", "b", "c")
    toys.HOOKS["c"] = refuse
    run_inline([c], store)
    damage(store, a, b)
    before = tree(Path(store.uri))
    make_plan([a, b, c, node("d", a, c)], store)
    assert tree(Path(store.uri)) == before


def test_a_plan_of_a_missing_store_does_not_make_it(tmp_path: Path):
    store = Store.open(str(tmp_path / "none"), create=False)
    assert states([node("a")], store)["a"][0] is State.READY
    assert list(tmp_path.iterdir()) == []


def test_a_goal_with_a_damaged_record_has_to_run(store: Store):
    # Regression: it was listed as cached ("rebuilt when something needs it"), and nothing ever needs a goal.
    a = node("a")
    execute(a, store)
    flip(path_of(store, a, RECORD), at=200)
    assert [stage.label for stage in make_plan([a], store).todo()] == ["a"]


def test_a_plan_asks_once_for_everything_and_once_for_each_committed_goal(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []
    for name in ("get", "exists", "under", "folders"):
        real = getattr(store.blobs, name)
        monkeypatch.setattr(store.blobs, name, lambda *a, real=real, name=name: (asked.append(name), real(*a))[1])
    source = node("source")
    goals = [node(f"goal {i}", source) for i in range(20)]
    make_plan(goals, store)
    assert asked == ["under"], "on an object store every question takes its time"
    for stage in (source, *goals[:5]):
        execute(stage, store)
    asked.clear()
    make_plan(goals, store)
    assert asked == ["under", *["get"] * 6], "five goals that are there, and the source that the others need"


def test_records_are_read_side_by_side_from_an_object_store(store: Store, monkeypatch: pytest.MonkeyPatch):
    goals = [node(f"goal {i}") for i in range(4)]
    for stage in goals:
        execute(stage, store)
    remote, together = Store.open(store.uri, create=False), threading.Barrier(4, timeout=20)
    real = remote.blobs.get

    def slow(name: str) -> bytes | None:
        together.wait()
        return real(name)

    held = remote.contents()
    monkeypatch.setattr(remote.blobs, "root", None)
    monkeypatch.setattr(remote.blobs, "get", slow)
    assert make_plan(goals, remote, held=held).counts() == {State.CACHED: 4}
