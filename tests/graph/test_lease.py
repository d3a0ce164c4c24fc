"""Leases: the work of a living driver is left to it, that of a dead one is taken over, and no clock is compared."""

import json
import os
import platform
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from nrf_ray.errors import StoreError
from nrf_ray.graph import lease
from nrf_ray.graph.lease import STALE_SECONDS, Leases, live_drivers, running_elsewhere
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import LEASE, Store, place_of
from tests.graph.toys import node

STAGE = node("x")


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(lease, "time", SimpleNamespace(monotonic=made.monotonic))
    return made


def other_driver(store: Store, stage: Stage = STAGE, **about: Any) -> None:
    """Put the files of another driver, which holds `stage`, into the store."""
    mine = {"pid": os.getpid(), "process_started": psutil.Process().create_time()}
    owner = {"driver": "other", "host": platform.node(), **mine, "beats": 1, **about}
    store.blobs.replace("drivers/other.json", json.dumps(owner).encode())
    store.blobs.replace(place_of(stage).file(LEASE), b'{"driver": "other"}')


def holder_of(store: Store, stage: Stage = STAGE) -> str:
    return json.loads(store.blobs.get(place_of(stage).file(LEASE)) or b"{}").get("driver", "nobody")


def dead_pid() -> int:
    """Return the id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_second_taker_is_refused_while_the_first_lives(store: Store):
    with Leases(store) as first, Leases(store) as second:
        assert first.take(STAGE) is None
        assert second.take(STAGE) == f"process {os.getpid()} on {platform.node()}"
        assert second.take(node("y")) is None, "another stage is free"
        assert first.take(STAGE) is None, "its own lease may be taken again"
        first.release(STAGE)
        assert second.take(STAGE) is None
        assert first.take(STAGE) is not None


def test_what_a_dead_process_held_is_taken_over(store: Store):
    other_driver(store, pid=dead_pid())
    assert running_elsewhere(store, STAGE) is None
    with Leases(store) as mine:
        assert mine.take(STAGE) is None
        assert holder_of(store) != "other"


def test_a_pid_that_another_process_has_now_does_not_count(store: Store):
    other_driver(store, process_started=psutil.Process().create_time() - 1000)
    assert running_elsewhere(store, STAGE) is None
    with Leases(store) as mine:
        assert mine.take(STAGE) is None


def test_the_pid_of_another_host_says_nothing(store: Store):
    other_driver(store, host="elsewhere", pid=dead_pid())
    assert running_elsewhere(store, STAGE) is not None
    with Leases(store) as mine:
        assert mine.take(STAGE) is not None


@pytest.mark.parametrize("host", ["elsewhere", None], ids=["of another host", "of a frozen process here"])
def test_a_counter_that_stands_still_is_a_dead_driver(store: Store, clock: Clock, host: str | None):
    other_driver(store, host=host or platform.node())
    with Leases(store) as mine:
        assert mine.take(STAGE) is not None
        clock.now += STALE_SECONDS - 1
        assert mine.take(STAGE) is not None
        clock.now += 2
        assert mine.take(STAGE) is None


def test_a_counter_that_moves_is_a_living_driver(store: Store, clock: Clock):
    with Leases(store) as mine:
        for beats in range(1, 8):
            other_driver(store, host="elsewhere", beats=beats)
            assert mine.take(STAGE) == f"process {os.getpid()} on elsewhere"
            clock.now += STALE_SECONDS - 1
        other_driver(store, host="elsewhere", beats=0)
        clock.now += 10 * STALE_SECONDS
        assert mine.take(STAGE) is not None, "any other count is a sign of life, after however long"


def test_a_lease_whose_driver_has_no_file_is_free(store: Store):
    other_driver(store)
    store.blobs.delete("drivers/other.json")
    assert running_elsewhere(store, STAGE) is None
    with Leases(store) as mine:
        assert mine.take(STAGE) is None


def test_all_is_released_at_exit_also_by_an_exception(store: Store):
    def work() -> None:
        with Leases(store) as mine:
            mine.take(STAGE)
            mine.take(node("y"))
            assert len(live_drivers(store)) == 1
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert [blob.name for blob in store.blobs.under()] == ["nrf-store.json"]
    assert live_drivers(store) == []


def test_live_drivers_are_those_that_may_live(store: Store):
    other_driver(store, pid=dead_pid())
    assert live_drivers(store) == []
    other_driver(store, host="elsewhere")
    assert live_drivers(store) == [f"process {os.getpid()} on elsewhere"]


def wait_for_beats(store: Store, more: int) -> int:
    """Return the count once it has risen by `more`, or where it stands after two seconds."""
    (name,) = [blob.name for blob in store.blobs.under("drivers")]

    def beats() -> int:
        return json.loads(store.blobs.get(name) or b"")["beats"]

    goal, end = beats() + more, time.monotonic() + 2
    while beats() < goal and time.monotonic() < end:
        time.sleep(0.005)
    return beats() - goal + more


def test_the_counter_goes_while_the_context_is_open(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.01)
    with Leases(store):
        assert wait_for_beats(store, 3) >= 3


def test_the_counter_goes_on_after_a_write_that_failed(store: Store, monkeypatch: pytest.MonkeyPatch):
    # Regression: a disk that was full for one beat ended the thread, and a living driver looked dead ever after.
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.01)
    real, left = store.blobs.replace, [2]

    def sometimes(name: str, data: bytes) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise StoreError("the disk is full")
        real(name, data)

    monkeypatch.setattr(store.blobs, "replace", sometimes)
    with Leases(store):
        assert wait_for_beats(store, 3) >= 3
