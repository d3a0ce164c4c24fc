"""Simulated schedules: toy graphs whose list schedules are known, and bounds that hold for every graph."""

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nrf_ray.graph.execute import Context
from nrf_ray.graph.frontier import Frontier
from nrf_ray.graph.pools import pool_size
from nrf_ray.graph.schedule import Schedule, longest_chain, lower_bound, simulate
from nrf_ray.graph.stage import Metrics, Stage, stage, walk
from tests.graph.toys import chain, node


@dataclass(frozen=True, kw_only=True)
class Shards:
    """A set of several files."""

    name: str
    num_shards: int
    seconds: float


@stage(version=1, cost=lambda handle: handle.config.seconds)
def shards(config: Shards, context: Context) -> Metrics:
    """Never run."""
    raise AssertionError((config, context))


@stage(version=1, cost=lambda handle: handle.config.seconds)
def reader(config: Shards, context: Context, *, made: object) -> Metrics:
    """Never run."""
    raise AssertionError((config, context, made))


def spans(schedule: Schedule) -> list[tuple[str, tuple[int, ...], float, float]]:
    return [(s.stage.title, s.slots, s.start, s.end) for s in schedule.spans]


def test_the_longest_path_goes_first_and_a_free_slot_takes_the_next():
    a, b = node("a", seconds=2), node("b", seconds=3)
    c = node("c", a, seconds=4)
    run = simulate(list(walk([c, b, node("d", seconds=1)])), slots=2)
    assert spans(run) == [("a", (0,), 0, 2), ("b", (1,), 0, 3), ("c", (0,), 2, 6), ("d", (1,), 3, 4)]
    assert (run.wall, run.work, run.tail) == (6, 10, 3)
    assert run.utilisation() == 10 / 12
    assert run.utilisation(0, run.tail) == 1.0
    assert run.utilisation(4, 6) == 0.5


def test_grahams_anomaly_of_list_scheduling_is_reproduced():
    # 3 jobs of 2 s and 3 of 1 s on 2 slots: longest first packs them into 5 s, and 9 s / 2 rounds up to no less.
    todo = [node(f"{i}", seconds=2 if i < 3 else 1) for i in range(6)]
    assert simulate(todo, slots=2).wall == 5
    assert lower_bound(todo, 2) == 4.5
    # The classic worst case of longest-first, 4/3 - 1/(3 m): 5, 5, 4, 4, 3, 3, 3 on three slots take 11, the best is 9.
    todo = [node(f"w{i}", seconds=s) for i, s in enumerate((5, 5, 4, 4, 3, 3, 3))]
    assert simulate(todo, slots=3).wall == 11
    assert lower_bound(todo, 3) == 9


def test_one_driver_hands_out_one_stage_after_the_other():
    todo = [node(str(i), seconds=1) for i in range(8)]
    run = simulate(todo, slots=4, handout=0.5)
    assert [s.start for s in run.spans] == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0]
    assert run.utilisation() == pytest.approx(8 / (4 * 5))


def test_new_processes_take_longer_for_their_first_stage():
    todo = [node(str(i), seconds=1) for i in range(6)]
    run = simulate(todo, slots=2, first=3)
    assert [(s.start, s.end) for s in run.spans] == [(0, 4), (0, 4), (4, 5), (4, 5), (5, 6), (5, 6)]
    pair = [replicated(Together(num_workers=2, seed=seed)) for seed in range(2)]
    assert simulate(pair, slots=2, first=3).wall == 26, "every group of workers is new"


def test_what_is_chosen_ahead_is_not_overtaken():
    a = node("a", seconds=2)
    todo = [a, node("c", a, seconds=4), node("b", seconds=3), node("d", seconds=1)]
    run = simulate(todo, slots=2, ahead=1)
    assert spans(run) == [("a", (0,), 0, 2), ("b", (1,), 0, 3), ("d", (0,), 2, 3), ("c", (1,), 3, 7)]


def test_what_is_expected_orders_the_work_and_what_it_takes_decides_when_it_ends():
    long, short = node("long", seconds=1), node("short", seconds=5)
    run = simulate([long, short], slots=1, takes=lambda s: 10.0 if s is long else 1.0)
    assert [s.stage.title for s in run.spans] == ["short", "long"]
    assert run.wall == 11


def test_a_set_that_all_wait_for_gets_every_slot_and_shards_are_whole():
    made = shards(Shards(name="made", num_shards=6, seconds=12))
    after = reader(Shards(name="after", num_shards=1, seconds=3), made=made)
    run = simulate([made, after], slots=4)
    # 6 shards of 2 s: two rounds whether on 4 slots or on 3, so 3 are enough.
    assert [(s.slots, s.start, s.end) for s in run.spans] == [((0, 1, 2), 0, 4), ((0,), 4, 7)]
    assert longest_chain([made, after], 4) == 7
    assert longest_chain([made, after], 1) == 15


def test_one_set_of_many_is_made_on_one_slot():
    sets = [shards(Shards(name=str(i), num_shards=8, seconds=8)) for i in range(32)]
    frontier = Frontier(sets)
    assert pool_size(sets[0], frontier, 4) == 1
    run = simulate(sets, slots=4)
    assert [len(s.slots) for s in run.spans[:24]] == [1] * 24
    assert run.utilisation() > 0.95


def test_nothing_starts_while_a_pool_waits_for_its_slots():
    made = shards(Shards(name="made", num_shards=2, seconds=8))
    user = reader(Shards(name="user", num_shards=1, seconds=9), made=made)
    first, short, last = (node(name, seconds=s) for name, s in (("first", 30.0), ("short", 2.0), ("last", 1.0)))
    run = simulate([first, short, last, made, user], slots=2)
    begun = {s.stage.kind.name + s.stage.label: (s.start, len(s.slots)) for s in run.spans}
    assert begun["toy_textfirst"] == (0, 1)
    assert begun["shards"] == (0, 1), "30 s of other work: one slot is early enough"
    alone = simulate([short, last, made, user], slots=2, takes=lambda s: s.cost())
    begun = {s.stage.kind.name + s.stage.label: (s.start, len(s.slots)) for s in alone.spans}
    assert begun["shards"] == (0, 2)


@dataclass(frozen=True, kw_only=True)
class Together:
    """A training by several workers."""

    num_workers: int
    seed: int


@stage(version=1, cost=lambda handle: 10.0)
def replicated(config: Together, context: Context) -> Metrics:
    """Never run."""
    raise AssertionError((config, context))


def test_a_training_by_several_workers_takes_a_slot_for_each():
    """Regression: it was planned on one, so that two of them seemed to run side by side."""
    pair = [replicated(Together(num_workers=2, seed=seed)) for seed in range(2)]
    assert [(s.slots, s.start, s.end) for s in simulate(pair, slots=2).spans] == [((0, 1), 0, 10), ((0, 1), 10, 20)]
    assert (lower_bound(pair, 2), lower_bound(pair, 4), simulate(pair, slots=4).wall) == (20, 10, 10)
    assert Frontier(pair).seconds_left == 40
    assert simulate([replicated(Together(num_workers=8, seed=0))], slots=2).wall == 10, "a forecast, if no run"


def test_the_bound_counts_chains_and_work():
    assert lower_bound(chain("a", "b", "c"), 8) == 3
    assert lower_bound([node(str(i)) for i in range(10)], 4) == 2.5
    assert (lower_bound([], 2), simulate([], 2).wall, simulate([], 2).utilisation()) == (0, 0, 1)


@st.composite
def graphs(draw: st.DrawFn) -> list[Stage]:
    made: list[Stage] = []
    for i in range(draw(st.integers(1, 12))):
        inputs = draw(st.lists(st.sampled_from(made), max_size=2, unique=True)) if made else []
        made.append(node(f"n{i}", *inputs, seconds=draw(st.integers(0, 9))))
    return made


@given(todo=graphs(), slots=st.integers(1, 4))
def test_every_schedule_keeps_order_slots_and_grahams_bound(todo: list[Stage], slots: int):
    run = simulate(todo, slots)
    ends = {s.stage.key: s.end for s in run.spans}
    assert sorted(s.stage.key for s in run.spans) == sorted(s.key for s in todo)
    for span in run.spans:
        assert all(ends[i.key] <= span.start for i in span.stage.inputs.values())
    by_slot = [sorted((s.start, s.end) for s in run.spans if slot in s.slots) for slot in range(slots)]
    assert all(end <= start for lane in by_slot for (_, end), (start, _) in pairwise(lane))
    chain_, work = longest_chain(todo, slots), sum(s.cost() for s in todo)
    assert lower_bound(todo, slots) <= run.wall <= chain_ + (work - chain_) / slots + 1e-9
