"""The searcher without Ray: how much it hands out, to whom, and what it makes of a stage that was lost."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nrf_ray.cluster.capacity import Capacity, Node
from nrf_ray.cluster.run import Outcome
from nrf_ray.cluster.search import MAX_MOVES, MAX_RETRIES, RAISED, StageSearcher
from nrf_ray.cluster.trial import BAD_INPUT
from nrf_ray.graph.attempts import lost_attempts
from nrf_ray.graph.execute import execute
from nrf_ray.graph.frontier import MAX_REOPENED, Frontier, Progress
from nrf_ray.graph.lease import Leases
from nrf_ray.graph.plan import make_plan
from nrf_ray.graph.stage import Resources, Stage, walk
from nrf_ray.graph.store import LEASE, Store, place_of
from tests.cluster.toys import Toy, place, place_on_gpu, sweep_of, together, toy, wide

DIED = (
    "ray.exceptions.ActorDiedError: it died\nThe actor is dead because its worker process has died. Some common causes"
)


class Bench:
    """A searcher on a store, with a cluster whose nodes and clock a test moves."""

    def __init__(self, store: Store, leases: Leases, nodes: dict[str, Node], *goals: Stage) -> None:
        self.store, self.nodes, self.time = store, nodes, 0.0
        self.capacity = Capacity(lambda: dict(self.nodes), lambda: self.time)
        self.searcher = StageSearcher(Frontier(list(walk(list(goals)))), store, leases, self.capacity)
        self.trials = 0

    def later(self, seconds: float = 10.0) -> None:
        """Let time pass, so that the cluster is looked at again."""
        self.time += seconds

    def hand_out(self) -> dict[str, Stage]:
        """Take all that is handed out now, as trials that start at once."""
        given: dict[str, Stage] = {}
        while isinstance(self.searcher.suggest(f"trial {self.trials}"), dict):
            given[f"trial {self.trials}"] = self.searcher.live[f"trial {self.trials}"]
            self.searcher.started(f"trial {self.trials}")
            self.trials += 1
        return given

    def fail(self, trial: str, error: str) -> None:
        """Let a trial end with an error, in the order in which Tune says so."""
        self.searcher.raised(trial, error)
        self.searcher.on_trial_complete(trial, error=True)


@pytest.fixture
def leases(store: Store) -> Iterator[Leases]:
    with Leases(store) as held:
        yield held


def toys(count: int) -> list[Stage]:
    return [toy(Toy(name=f"toy {number}")) for number in range(count)]


def test_a_lost_process_is_replaced_a_few_times(store: Store, leases: Leases) -> None:
    (stage,) = toys(1)
    bench = Bench(store, leases, {"a": Node(2, 0)}, stage)
    for _ in range(MAX_RETRIES + 1):
        assert bench.searcher.frontier.state[stage.key] is Progress.READY
        (trial,) = bench.hand_out()
        bench.fail(trial, DIED)
    assert bench.searcher.frontier.state[stage.key] is Progress.FAILED
    assert bench.searcher.suggest("more") == "FINISHED"
    said = bench.searcher.frontier.errors[stage.key]
    assert said.startswith("its process was lost 3 times: The actor is dead because its worker process has died. (")
    assert lost_attempts(store) == {stage.key: 3}
    (step,) = make_plan([stage], store).steps
    assert step.state.value == "failed before"


def test_a_run_knows_when_its_stages_began_and_ended_and_which_were_the_first_of_their_process(
    store: Store, leases: Leases
) -> None:
    stages = toys(3)
    bench = Bench(store, leases, {"a": Node(3, 0)}, *stages)
    assert (bench.searcher.first_start, bench.searcher.last_end) == (None, None)
    before = time.monotonic()
    trials = bench.hand_out()
    began = bench.searcher.first_start
    for trial, first in zip(trials, (True, False, None), strict=True):
        done = {"end": "done", "seconds": None if first is None else 1.0, "first": first}
        bench.searcher.on_trial_complete(trial, done)
    assert bench.searcher.firsts == {next(iter(trials.values())).key}
    assert bench.searcher.first_start == began, "the first start stays the first"
    assert before <= began <= bench.searcher.last_end <= time.monotonic()


def test_a_process_that_ray_ended_for_want_of_memory_says_so(store: Store, leases: Leases) -> None:
    (stage,) = toys(1)
    bench = Bench(store, leases, {"a": Node(2, 0)}, stage)
    for _ in range(MAX_RETRIES + 1):
        (trial,) = bench.hand_out()
        bench.fail(
            trial, "OutOfMemoryError: 1 worker(s) were killed due to the node running low on memory.\nRefer to ..."
        )
    assert "lost 3 times: the memory of its node was nearly full" in bench.searcher.frontier.errors[stage.key]


def test_a_lost_node_does_not_count_against_the_stage(store: Store, leases: Leases) -> None:
    (stage,) = toys(1)
    bench = Bench(store, leases, {}, stage)
    for number in range(MAX_MOVES + 1):
        assert bench.searcher.frontier.state[stage.key] is Progress.READY
        bench.nodes[f"node {number}"] = Node(2, 0)
        bench.later()
        (trial,) = bench.hand_out()
        bench.later()
        del bench.nodes[f"node {number}"]
        bench.fail(trial, DIED)
    assert bench.searcher.frontier.state[stage.key] is Progress.FAILED, "it seems to take its nodes down"
    assert "its node was lost 11 times" in bench.searcher.frontier.errors[stage.key]


def test_a_stage_that_raised_is_not_tried_again(store: Store, leases: Leases) -> None:
    (stage,) = toys(1)
    bench = Bench(store, leases, {"a": Node(2, 0)}, stage)
    (trial,) = bench.hand_out()
    bench.fail(trial, f"Failure # 1\nray::train()\n  File ...\n{RAISED}ValueError: no (/store/failure.json)\n")
    assert bench.searcher.frontier.errors[stage.key] == "ValueError: no (/store/failure.json)"


def test_more_is_handed_out_when_a_node_joins(store: Store, leases: Leases) -> None:
    bench = Bench(store, leases, {"a": Node(1, 0)}, *toys(30))
    assert len(bench.hand_out()) == 1 + 2, "what can run, and two whose start is prepared"
    bench.nodes["b"] = Node(7, 0)
    bench.later()
    assert len(bench.searcher.live) + len(bench.hand_out()) == 8 + 2


def test_stages_that_wait_for_a_gpu_keep_no_cpu_idle(store: Store, leases: Leases) -> None:
    on_gpus = [place_on_gpu(Toy(name=f"gpu {number}", seconds=100.0)) for number in range(20)]
    on_cpus = [place(Toy(name=f"cpu {number}", seconds=1.0)) for number in range(20)]
    sweep = sweep_of(*on_gpus, *on_cpus).on(Resources(gpus=1))
    bench = Bench(store, leases, {"a": Node(8, 1)}, *sweep.goals)
    given = [stage.kind.name for stage in bench.hand_out().values()]
    assert (given.count("place_on_gpu"), given.count("place")) == (1 + 2, 8 + 2)


def test_a_pool_that_waits_for_a_node_that_died_is_made_smaller(store: Store, leases: Leases) -> None:
    shards = wide(Toy(name="shards", num_shards=12))
    bench = Bench(store, leases, {"a": Node(2, 0), "b": Node(4, 0)}, shards)
    config = bench.searcher.suggest("first")
    assert isinstance(config, dict)
    assert config["actors"] == 6
    assert bench.searcher.too_large() == []
    del bench.nodes["b"]
    bench.later()
    assert bench.searcher.too_large() == ["first"]
    bench.searcher.on_trial_complete("first")
    config = bench.searcher.suggest("second")
    assert isinstance(config, dict)
    assert config["actors"] == 2
    assert lost_attempts(store) == {}, "it had not begun"


def test_what_a_pool_did_is_the_work_of_all_its_actors(store: Store, leases: Leases) -> None:
    shards, pair = wide(Toy(name="shards", num_shards=12)), together(Toy(name="pair", num_workers=2))
    bench = Bench(store, leases, {"a": Node(6, 0)}, shards, pair)
    given = bench.hand_out()
    for trial in given:
        bench.searcher.on_trial_complete(trial, {"end": "done", "seconds": 2.0})
    assert bench.searcher.seconds == {shards.key: 12.0, pair.key: 2.0}, "costs of a pair are of both at once"
    outcome = Outcome(frontier=bench.searcher.frontier, seconds=bench.searcher.seconds, slots=6)
    assert (outcome.work_seconds, outcome.overhead(4.0)) == (16.0, pytest.approx(1 / 3))


def test_what_a_killed_run_had_begun_is_counted(store: Store, leases: Leases, tmp_path: Path) -> None:
    (stage,) = toys(1)
    store.blobs.put_new(place_of(stage).file(LEASE), b'{"driver": "a run that was killed"}')
    bench = Bench(store, leases, {"a": Node(2, 0)}, stage)
    (trial,) = bench.hand_out()
    assert lost_attempts(store) == {stage.key: 1}
    bench.searcher.on_trial_complete(trial, {"end": "done", "seconds": 1.0})
    assert bench.searcher.frontier.finished


def test_what_a_killed_run_had_finished_was_not_lost(store: Store, leases: Leases) -> None:
    """It was killed between the record and the release of its lease, and this run had planned before."""
    (stage,) = toys(1)
    bench = Bench(store, leases, {"a": Node(2, 0)}, stage)
    execute(stage, store)
    store.blobs.put_new(place_of(stage).file(LEASE), b'{"driver": "a run that was killed"}')
    assert len(bench.hand_out()) == 1
    assert lost_attempts(store) == {}


def test_what_a_killed_run_had_begun_is_counted_once(store: Store, leases: Leases) -> None:
    """Regression: every run that took the stage after it, or the same run again, counted one more."""
    (stage,) = toys(1)
    store.blobs.put_new(place_of(stage).file(LEASE), b'{"driver": "a run that was killed"}')
    bench = Bench(store, leases, {"a": Node(2, 0)}, stage)
    for _ in range(MAX_RETRIES):
        (trial,) = bench.hand_out()
        bench.searcher.on_trial_complete(trial)  # it was taken back before it ran
    with Leases(store) as others:
        (trial,) = Bench(store, others, {"a": Node(2, 0)}, stage).hand_out()
    assert lost_attempts(store) == {stage.key: 1}


def test_what_a_stopped_run_was_doing_is_counted(store: Store, leases: Leases) -> None:
    begun, waits = toys(2)
    bench = Bench(store, leases, {"a": Node(1, 0)}, begun, waits)
    bench.searcher.suggest("one")
    bench.searcher.suggest("two")
    bench.searcher.started("one")
    bench.searcher.stopped()
    assert lost_attempts(store) == {bench.searcher.live["one"].key: 1}


def test_damage_that_another_stage_had_rebuilt_first_is_no_failure(store: Store, leases: Leases) -> None:
    """Two stages find the same model damaged; it is whole again before the second one is heard."""
    (stage,) = toys(1)
    bench = Bench(store, leases, {"a": Node(2, 0)}, stage)
    for _ in range(MAX_REOPENED):
        (trial,) = bench.hand_out()
        bench.searcher.on_trial_complete(trial, {"end": BAD_INPUT, "error": "CorruptArtifact: other bytes"})
        assert bench.searcher.frontier.state[stage.key] is Progress.READY
    (trial,) = bench.hand_out()
    bench.searcher.on_trial_complete(trial, {"end": BAD_INPUT, "error": "CorruptArtifact: other bytes"})
    assert bench.searcher.frontier.state[stage.key] is Progress.FAILED, "a disk that damages everything"
    assert "other bytes" in bench.searcher.frontier.errors[stage.key]
