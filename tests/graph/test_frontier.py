"""The frontier, checked against a model: nothing before its inputs, nothing twice, nothing left out, and an end."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nrf_ray.graph.canonical import Key
from nrf_ray.graph.frontier import MAX_REOPENED, OPEN, Frontier, Progress
from nrf_ray.graph.headway import Headway
from nrf_ray.graph.stage import Stage, walk
from tests.graph.toys import Strict, chain, node, strict


@st.composite
def graphs(draw: st.DrawFn, largest: int = 9) -> list[Stage]:
    """Random acyclic graphs, inputs first, with costs of which many are equal."""
    made: list[Stage] = []
    for n in range(draw(st.integers(1, largest))):
        inputs = draw(st.lists(st.sampled_from(made), max_size=3, unique=True)) if made else []
        made.append(node(str(n), *inputs, seconds=float(draw(st.integers(0, 3)))))
    return made


def test_what_running_stages_have_done_counts_in_the_time_left():
    """Two stages of 10 s ran side by side for 6 s and are half done; a third waits."""
    stages = [node("a", seconds=10.0), node("b", seconds=10.0), node("c", seconds=10.0)]
    frontier = Frontier(stages)
    running = [frontier.next_ready(), frontier.next_ready()]
    assert frontier.expected_left(6.0) is None, "nothing is done"
    half = Headway(unit="epochs", done=5, total=10, share=0.5, left=3.0)
    told = {stage.key: half for stage in running}
    assert frontier.work_left(told) == 20.0
    assert frontier.expected_left(6.0, told) == 20.0 * 6.0 / 10.0
    slow = replace(half, left=100.0)
    assert frontier.expected_left(6.0, told | {running[0].key: slow}) == 100.0, "no run ends before its slowest stage"
    resumed = replace(half, before=0.25)
    assert frontier.expected_left(6.0, {stage.key: resumed for stage in running}) == 20.0 * 6.0 / 5.0
    frontier.done(running[0].key)
    assert frontier.expected_left(6.0) == 20.0 * 6.0 / 10.0


def descendants(stages: list[Stage], roots: set[Key]) -> set[Key]:
    """Return all of `stages` (inputs first) that need one of `roots`."""
    found: set[Key] = set()
    for stage in stages:
        if any(i.key in roots | found for i in stage.inputs.values()):
            found.add(stage.key)
    return found


def needed(goals: list[Stage], committed: set[Key]) -> list[Stage]:
    """Return what has to run before `goals` are committed, inputs first, as a plan would."""
    open_: set[Key] = set()
    todo = [goal for goal in goals if goal.key not in committed]
    while todo:
        stage = todo.pop()
        if stage.key not in open_:
            open_.add(stage.key)
            todo += [i for i in stage.inputs.values() if i.key not in committed]
    return [stage for stage in walk(goals) if stage.key in open_]


def longest_paths(stages: list[Stage]) -> dict[Key, float]:
    """Return the cost of the dearest way from each stage to an end."""
    paths: dict[Key, float] = {}
    for stage in reversed(stages):
        users = [u.key for u in stages if any(i.key == stage.key for i in u.inputs.values())]
        paths[stage.key] = stage.cost() + max((paths[user] for user in users), default=0.0)
    return paths


def labels(stages: list[Stage]) -> list[str]:
    return [stage.label for stage in stages]


def drain(frontier: Frontier, failing: set[str] = frozenset()) -> list[str]:
    """Run what is left, one after the other; return the labels in order."""
    order = []
    while (stage := frontier.next_ready()) is not None:
        order.append(stage.label)
        if stage.label in failing:
            frontier.fail(stage.key, "was told to")
        else:
            frontier.done(stage.key)
    return order


@given(graphs(14), st.data())
def test_without_damage_every_stage_is_handed_out_once_and_failures_block_their_descendants(
    made: list[Stage], data: st.DataObject
):
    failing = data.draw(st.sets(st.sampled_from([stage.key for stage in made]), max_size=3))
    slots = data.draw(st.integers(1, 4))
    frontier, paths = Frontier(made), longest_paths(made)
    done: set[Key] = set()
    failed: set[Key] = set()
    handed: list[Key] = []
    running: list[Stage] = []
    while True:
        while len(running) < slots:
            ready = frontier.in_state(Progress.READY)
            stage = frontier.next_ready()
            if stage is None:
                assert not ready
                break
            assert paths[stage.key] == max(paths[other.key] for other in ready), "the longest path goes first"
            assert all(i.key in done for i in stage.inputs.values())
            handed.append(stage.key)
            running.append(stage)
        assert frontier.finished == (not running)
        if not running:
            break
        stage = running.pop(data.draw(st.integers(0, len(running) - 1)))
        if stage.key in failing:
            frontier.fail(stage.key, "was told to")
            failed.add(stage.key)
        else:
            frontier.done(stage.key)
            done.add(stage.key)
        blocked = {s.key for s in frontier.in_state(Progress.BLOCKED)}
        assert blocked == descendants(made, failed)
    assert len(handed) == len(set(handed))
    assert {s.key for s in frontier.in_state(Progress.DONE)} == done
    assert done | failed | descendants(made, failed) == {s.key for s in made}
    assert set(frontier.errors) == failed | descendants(made, failed)


class DamagedStores(RuleBasedStateMachine):
    """A run on a store that loses committed artifacts: stages find inputs gone and are reopened."""

    @initialize(made=graphs(), outside=st.sets(st.integers(0, 8)))
    def plan(self, made: list[Stage], outside: set[int]) -> None:
        used = {i.key for stage in made for i in stage.inputs.values()}
        goals = [stage for stage in made if stage.key not in used]
        self.committed = {stage.key for n, stage in enumerate(made) if n in outside}
        self.frontier = Frontier(needed(goals, self.committed))
        self.running: list[Stage] = []
        self.may_start: Counter[Key] = Counter(stage.key for stage in made)
        self.reopened: Counter[Key] = Counter()
        self.failed_once: set[Key] = set()
        self.made = made

    def running_one(self, pick: int) -> Stage:
        return self.running.pop(pick % len(self.running))

    @rule()
    def hand_out(self) -> None:
        stage = self.frontier.next_ready()
        if stage is None:
            assert self.running or self.frontier.finished, "where nothing runs and nothing can start, it is the end"
            return
        assert stage.key not in self.committed
        assert all(i.key in self.committed for i in stage.inputs.values()), "inputs come first"
        self.may_start[stage.key] -= 1
        assert self.may_start[stage.key] >= 0, "a stage is handed out once, unless it was reopened or lost"
        self.running.append(stage)

    @precondition(lambda self: self.running)
    @rule(pick=st.integers(0, 9))
    def succeed(self, pick: int) -> None:
        stage = self.running_one(pick)
        self.committed.add(stage.key)
        self.frontier.done(stage.key)

    @precondition(lambda self: self.running)
    @rule(pick=st.integers(0, 9))
    def fail(self, pick: int) -> None:
        stage = self.running_one(pick)
        self.failed_once.add(stage.key)
        self.frontier.fail(stage.key, "was told to")

    @precondition(lambda self: any(stage.inputs for stage in self.running))
    @rule(pick=st.integers(0, 9), which=st.sets(st.integers(0, 2), min_size=1))
    def find_inputs_damaged(self, pick: int, which: set[int]) -> None:
        able = [stage for stage in self.running if stage.inputs]
        stage = able[pick % len(able)]
        inputs = list(stage.inputs.values())
        lost = {inputs[n % len(inputs)].key for n in which}
        self.running.remove(stage)
        self.reopened[stage.key] += 1
        if self.reopened[stage.key] > MAX_REOPENED:
            self.failed_once.add(stage.key)
            self.frontier.reopen(stage.key, [], "damaged")
            assert self.frontier.state[stage.key] is Progress.FAILED
            return
        self.committed -= lost
        rebuild = needed(inputs, self.committed)
        over = (Progress.DONE, Progress.FAILED, Progress.BLOCKED)
        self.may_start.update(s.key for s in rebuild if self.frontier.state.get(s.key) in over)
        self.may_start[stage.key] += 1
        self.frontier.reopen(stage.key, rebuild, "damaged")
        assert self.frontier.state[stage.key] is Progress.WAITING
        assert all(self.frontier.state[s.key] in OPEN for s in rebuild)

    @invariant()
    def states_agree(self) -> None:
        if not hasattr(self, "frontier"):
            return
        state = self.frontier.state
        assert {s.key for s in self.frontier.in_state(Progress.RUNNING)} == {s.key for s in self.running}
        assert self.frontier.finished == (not self.frontier.in_state(*OPEN))
        assert sum(sum(row.values()) for row in self.frontier.counts().values()) == len(state)
        may_be_blocked = descendants(self.made, self.failed_once)
        for key, stage in self.frontier.stages.items():
            inputs = [state.get(i.key, Progress.DONE) for i in stage.inputs.values()]
            if state[key] is Progress.READY:
                assert set(inputs) <= {Progress.DONE}
            if state[key] is Progress.WAITING:
                assert set(inputs) & set(OPEN), "what waits, waits for something that can still come"
                assert not set(inputs) & {Progress.FAILED, Progress.BLOCKED}
            if state[key] is Progress.BLOCKED:
                assert key in may_be_blocked

    def teardown(self) -> None:
        if not hasattr(self, "frontier"):
            return
        while self.running:
            self.succeed(0)
        drain(self.frontier)
        assert self.frontier.finished


TestDamagedStores = DamagedStores.TestCase


def test_nothing_to_do_is_finished():
    frontier = Frontier([])
    assert frontier.finished
    assert frontier.next_ready() is None


def test_an_input_outside_the_run_counts_as_done():
    a, b = chain("a", "b")
    assert drain(Frontier([b])) == ["b"]
    assert a.key not in Frontier([b]).state


def test_the_longest_path_goes_first_and_costs_of_users_count():
    short, long = node("short", seconds=5), node("long", seconds=1)
    made = [short, long, node("after", long, seconds=9), node("alone", seconds=3)]
    assert drain(Frontier(made)) == ["long", "after", "short", "alone"]


def test_a_failure_says_what_it_blocks_and_why():
    a, b, c = chain("a", "b", "c")
    other = node("other")
    frontier = Frontier([a, b, c, other])
    assert drain(frontier, failing={"a"}) == ["a", "other"]
    assert [frontier.errors[s.key] for s in (a, b, c)] == ["was told to", *["needs a, which failed"] * 2]
    assert labels(frontier.in_state(Progress.BLOCKED)) == ["b", "c"]
    assert frontier.finished


def test_what_is_not_admitted_stays_ready():
    a, b = node("a", seconds=2), node("b")
    frontier = Frontier([a, b])
    asked = []
    assert frontier.next_ready(lambda stage: asked.append(stage.label) or False) is None
    assert asked == ["a", "b"]
    assert not frontier.finished
    assert frontier.next_ready(lambda stage: stage.label == "b") is b
    assert drain(frontier) == ["a"]


def test_damaged_inputs_run_again_and_then_their_user():
    a, b = chain("a", "b")
    other_user = node("other user", a)
    frontier = Frontier([a, b, other_user])
    frontier.done(frontier.next_ready().key)
    assert frontier.next_ready() in (b, other_user)
    running = frontier.in_state(Progress.RUNNING)[0]
    frontier.reopen(running.key, [a], "damaged")
    assert labels(frontier.in_state(Progress.READY)) == ["a"], "the other user has not started and waits too"
    order = drain(frontier)
    assert order[0] == "a"
    assert sorted(order[1:]) == ["b", "other user"]


def test_rebuilding_brings_in_ancestors_that_the_plan_had_pruned():
    a, b, c = chain("a", "b", "c")
    frontier = Frontier([c])
    assert frontier.next_ready() is c
    frontier.reopen(c.key, [a, b], "damaged")
    assert drain(frontier) == ["a", "b", "c"]


def test_what_is_on_its_way_is_not_started_again():
    a, b = chain("a", "b")
    c = node("c", a)
    frontier = Frontier([b, c])
    assert {frontier.next_ready(), frontier.next_ready()} == {b, c}
    frontier.reopen(b.key, [a], "damaged")
    assert frontier.next_ready() is a
    frontier.reopen(c.key, [a], "damaged")
    assert frontier.next_ready() is None, "a is running already"
    frontier.done(a.key)
    assert sorted(drain(frontier)) == ["b", "c"]


def test_a_disk_that_damages_everything_does_not_loop_for_ever():
    a, b = chain("a", "b")
    c = node("c", b)
    frontier = Frontier([a, b, c])
    for _ in range(MAX_REOPENED + 1):
        frontier.done(frontier.next_ready().key)
        assert frontier.next_ready() is b
        frontier.reopen(b.key, [a], "damaged")
    assert frontier.finished
    said = f"found damaged inputs {MAX_REOPENED} times; check the disk under the store (damaged)"
    assert frontier.errors[b.key] == said
    assert labels(frontier.in_state(Progress.BLOCKED)) == ["c"]


def test_a_rebuilt_input_that_fails_blocks_its_user():
    a, b = chain("a", "b")
    frontier = Frontier([b])
    frontier.next_ready()
    frontier.reopen(b.key, [a], "damaged")
    assert drain(frontier, failing={"a"}) == ["a"]
    assert frontier.finished
    assert labels(frontier.in_state(Progress.BLOCKED)) == ["b"]


@pytest.mark.parametrize("failing", ["a", "b"], ids=["failed here", "blocked here"])
def test_what_failed_here_and_was_committed_by_another_run_does_not_hold_up_a_rebuild(failing: str):
    # Regression: a rebuilt stage waited for ever for an input that is committed, since it had failed in this run.
    a, b = chain("a", "b")
    middle = node("middle", b)
    user = node("user", middle)
    frontier = Frontier([a, b, user])  # `middle` is committed
    assert frontier.next_ready(lambda stage: stage is user) is user
    while (stage := frontier.next_ready()) is not None:
        if stage.label == failing:
            frontier.fail(stage.key, "the node was lost")
        else:
            frontier.done(stage.key)
    # Meanwhile another run has committed both; so only `middle`, which is damaged, is missing.
    frontier.reopen(user.key, [middle], "damaged")
    assert drain(frontier) == ["middle", "user"]
    assert frontier.finished


def test_counts_are_by_kind():
    a, b = chain("a", "b")
    c = strict(Strict(), model=a)
    frontier = Frontier([a, b, c])
    frontier.done(frontier.next_ready().key)
    assert frontier.counts() == {
        "toy_text": Counter({Progress.DONE: 1, Progress.READY: 1}),
        "strict": Counter({Progress.READY: 1}),
    }
