"""Reports: at most one in each interval, of the stage that runs now, and none that fails does harm."""

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from nrf_ray.cluster import reports
from nrf_ray.cluster.reports import Channel, Reporter, collecting
from nrf_ray.graph.headway import Headway, begin, loop
from nrf_ray.graph.store import Store
from tests.cluster.toys import Toy, sweep_of, wait_for, wide

STEP = 0.02


class Wire:
    """A channel without Ray."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Headway, float]] = []
        self.held: dict[str, Headway] = {}
        self.forgotten: list[str] = []
        self.error: Exception | None = None

    def send(self, trial: str, told: Headway) -> None:
        self.sent.append((trial, told, time.monotonic()))
        if self.error:
            raise self.error
        self.held[trial] = told

    def read(self) -> dict[str, Headway]:
        if self.error:
            raise self.error
        return dict(self.held)

    def forget(self, trial: str) -> None:
        self.forgotten.append(trial)
        self.held = {name: told for name, told in self.held.items() if not name.startswith(trial)}


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    monkeypatch.setattr(reports, "REPORT_SECONDS", STEP)
    begin()
    return Wire()


def until(event: Callable[[], object]) -> None:
    wait_for(lambda: bool(event()), "it never came")


def test_a_stage_reports_at_most_once_an_interval_and_only_news(wire: Wire) -> None:
    with Reporter(wire).reporting("one"), loop(10_000, "epochs") as epochs:
        while len(wire.sent) < 5:
            epochs.advance()
            time.sleep(STEP / 20)
        until(lambda: wire.held["one"].done == epochs.done)
        count = len(wire.sent)
        time.sleep(5 * STEP)
        assert len(wire.sent) == count, "nothing new, nothing sent"
    times = [at for _, _, at in wire.sent]
    assert all(later - earlier >= STEP for earlier, later in pairwise(times))
    assert [told.done for _, told, _ in wire.sent] == sorted({told.done for _, told, _ in wire.sent})


def test_a_process_reports_on_one_trial_after_the_other_and_then_on_none(wire: Wire) -> None:
    reporter = Reporter(wire)
    for trial in ("one", "two"):
        with reporter.reporting(trial), loop(3, "shards") as shards:
            shards.advance()
            until(lambda trial=trial: trial in wire.held)
    with loop(3, "attacks") as attacks:
        attacks.advance()
        time.sleep(4 * STEP)
    assert [(trial, told.unit) for trial, told, _ in wire.sent] == [("one", "shards"), ("two", "shards")]


def test_reports_that_fail_harm_nothing_and_later_ones_arrive(wire: Wire) -> None:
    wire.error = ConnectionError("the head is gone")
    told: dict[str, Headway] = {}
    with (
        collecting(wire, lambda: {"one": None}, told),
        Reporter(wire).reporting("one"),
        loop(10_000, "epochs") as epochs,
    ):
        epochs.advance()
        until(lambda: len(wire.sent) >= 3)
        assert told == {}
        wire.error = None
        until(lambda: told)
    assert told["one"].done == 1


def test_the_driver_keeps_reports_of_living_trials_and_forgets_the_rest(wire: Wire) -> None:
    far = Headway(unit="epochs", done=1, total=4, share=0.25)
    wire.held = {"lives": far, "is over": far}
    live: dict[str, object] = {"lives": None}
    told: dict[str, Headway] = {"ended before": far}
    with collecting(wire, lambda: live, told):
        until(lambda: told == {"lives": far})
        until(lambda: "is over" in wire.forgotten)
        live.clear()
        until(lambda: told == {})
    assert wire.held == {}


@pytest.mark.slow
def test_the_driver_reads_how_many_shards_a_pool_of_actors_has_made(
    two_cpus: Cluster, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its two actors make a shard each and wait at a gate, which opens when the driver has read of one."""
    from tests.cluster.test_run import run

    gate = tmp_path / "gate"
    sets = [wide(Toy(name="pool", num_shards=4, seconds=0.1, gate=str(gate), before_gate=1))]
    seen: dict[str, int] = {}
    real = reports.Channel.read

    def read(self: Channel) -> dict[str, Headway]:
        found = real(self)
        for told in found.values():
            seen[told.unit] = max(seen.get(told.unit, 0), told.done)
        if seen.get("shards", 0) >= 1:
            gate.touch()
        return found

    monkeypatch.setattr(reports.Channel, "read", read)
    outcome = run(sweep_of(*sets), store, two_cpus, tmp_path)
    assert outcome.frontier.errors == {}
    assert seen["shards"] >= 1
