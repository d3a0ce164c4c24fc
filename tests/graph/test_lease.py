"""Leases: the work of a living driver is left to it, that of a dead one is taken over, and no clock is compared."""

import contextlib
import json
import os
import platform
import threading
import time

import pytest

from nrf_ray.errors import StoreError
from nrf_ray.graph import drivers
from nrf_ray.graph.drivers import STALE_SECONDS, live_drivers
from nrf_ray.graph.lease import Leases, running_elsewhere
from nrf_ray.graph.store import LEASE, Store, place_of
from tests.graph.others import ELSEWHERE, STAGE, Clock, dead_pid, other_driver
from tests.graph.toys import node


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
        assert running_elsewhere(store, STAGE) == f"process {os.getpid()} on {platform.node()}"


def test_a_pid_that_another_process_has_now_does_not_count(store: Store):
    other_driver(store, started="1")
    assert running_elsewhere(store, STAGE) is None
    with Leases(store) as mine:
        assert mine.take(STAGE) is None


@pytest.mark.parametrize("machine", ["another machine", "this machine before it was started again", "a container"])
def test_the_pid_of_another_machine_says_nothing_though_it_has_the_same_name(store: Store, machine: str):
    # Regression: two machines that were both called localhost took each other's drivers for dead.
    other_driver(store, machine=machine, pid=dead_pid())
    assert running_elsewhere(store, STAGE) is not None
    with Leases(store) as mine:
        assert mine.take(STAGE) is not None


@pytest.mark.parametrize("name", ["", "../../secret", "a/b", "x" * 500, 7, None])
def test_a_lease_that_makes_no_sense_is_free(store: Store, name: object):
    store.blobs.replace(place_of(STAGE).file(LEASE), json.dumps({"driver": name}).encode())
    assert running_elsewhere(store, STAGE) is None
    with Leases(store) as mine:
        assert mine.take(STAGE) is None


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b"[" * 100_000, b'{"driver": "other", "beats": "x"}'])
def test_a_driver_whose_file_is_damaged_counts_as_dead(store: Store, data: bytes):
    other_driver(store)
    store.blobs.replace("drivers/other.json", data)
    assert (running_elsewhere(store, STAGE), live_drivers(store.blobs)) == (None, [])
    with Leases(store) as mine:
        assert mine.take(STAGE) is None


@pytest.mark.parametrize("about", [ELSEWHERE, {}], ids=["of another host", "of a frozen process here"])
def test_a_counter_that_stands_still_is_a_dead_driver(store: Store, clock: Clock, about: dict[str, str]):
    other_driver(store, **about)
    with Leases(store) as mine:
        assert mine.take(STAGE) is not None
        clock.now += STALE_SECONDS - 1
        assert mine.take(STAGE) is not None
        clock.now += 2
        assert mine.take(STAGE) is None


def test_a_counter_that_moves_is_a_living_driver(store: Store, clock: Clock):
    with Leases(store) as mine:
        for beats in range(1, 8):
            other_driver(store, **ELSEWHERE, beats=beats)
            assert mine.take(STAGE) == f"process {os.getpid()} on elsewhere"
            clock.now += STALE_SECONDS - 1
        other_driver(store, **ELSEWHERE, beats=0)
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
            assert len(live_drivers(store.blobs)) == 1
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert [blob.name for blob in store.blobs.under()] == ["nrf-store.json"]
    assert live_drivers(store.blobs) == []


def test_a_lease_that_cannot_be_given_back_keeps_none_of_the_others(store: Store, monkeypatch: pytest.MonkeyPatch):
    # Regression: the first that failed left all others behind, and a counter that went on for ever.
    stages = [node(name) for name in "abc"]
    stuck, real = place_of(stages[0]).file(LEASE), store.blobs.delete

    def fails_once(name: str) -> None:
        if name == stuck:
            raise StoreError("the disk does not answer")
        real(name)

    monkeypatch.setattr(store.blobs, "delete", fails_once)
    before = threading.active_count()
    with pytest.raises(StoreError, match="does not answer"), Leases(store) as mine:
        assert [mine.take(stage) for stage in stages] == [None] * 3
    assert [blob.name for blob in store.blobs.under()] == ["nrf-store.json", stuck]
    assert threading.active_count() == before


def test_live_drivers_are_those_that_may_live(store: Store):
    other_driver(store, pid=dead_pid())
    assert live_drivers(store.blobs) == []
    other_driver(store, **ELSEWHERE)
    assert [str(driver) for driver in live_drivers(store.blobs)] == [f"process {os.getpid()} on elsewhere"]


def test_of_many_that_take_over_from_the_same_dead_driver_one_succeeds(store: Store):
    # Regression: both wrote their own name over the dead one's, and both did the work.
    other_driver(store, pid=dead_pid())
    rounds = 3
    for dead in range(rounds):
        runs = [Leases(store) for _ in range(4)]
        with contextlib.ExitStack() as stack:
            for run in runs:
                stack.enter_context(run)
            taken = [run.take(STAGE) for run in runs]
            assert taken.count(None) == 1, dead
            winner = runs[taken.index(None)]
            assert winner.take(STAGE) is None, "its own lease may be taken again"
            winner.release(STAGE)
            assert runs[taken.index(None) - 1].take(STAGE) is None, "what is given back is free"


@pytest.mark.parametrize("dead", [1, 3])
def test_what_the_dead_held_is_taken_over_once(store: Store, dead: int):
    # Regression: the lease of the dead run stayed, so whoever took the stage later took it over once more.
    other_driver(store, pid=dead_pid())
    for _ in range(dead - 1):
        killed = Leases(store)  # it never becomes known as a driver, so it is dead
        assert killed.take(STAGE) is None
    with Leases(store) as mine, Leases(store) as other:
        assert (mine.take(STAGE), mine.took_over(STAGE)) == (None, True)
        assert other.take(STAGE) is not None
        mine.release(STAGE)
        assert store.blobs.under(place_of(STAGE).stage) == [], "nothing of the dead is left"
        assert (other.take(STAGE), other.took_over(STAGE)) == (None, False)


def test_a_lease_that_follows_what_was_just_removed_is_no_lease(store: Store, monkeypatch: pytest.MonkeyPatch):
    other_driver(store, pid=dead_pid())
    with Leases(store) as first, Leases(store) as second, Leases(store) as third:
        assert first.take(STAGE) is None
        real = store.blobs.put_new

        def once_it_is_given_back(name: str, data: bytes) -> bool:
            if name != place_of(STAGE).file(LEASE) and first._held:
                first.release(STAGE)
            return real(name, data)

        monkeypatch.setattr(store.blobs, "put_new", once_it_is_given_back)
        assert (second.take(STAGE), second.took_over(STAGE)) == (None, False)
        assert third.take(STAGE) is not None, "there is one lease, and it is found"


def test_who_was_overtaken_does_not_take_the_lease_of_the_other_away(store: Store, clock: Clock):
    with Leases(store) as frozen, Leases(store) as other:
        assert frozen.take(STAGE) is None
        other.take(STAGE)
        clock.now += STALE_SECONDS + 1
        assert other.take(STAGE) is None
        assert frozen.take(STAGE) is not None, "it is not its own any more"
        frozen.release(STAGE)
        with Leases(store) as third:
            assert third.take(STAGE) is not None


@pytest.mark.parametrize("interrupted", ["put_new", "delete"])
def test_a_lease_that_is_taken_or_given_back_at_the_moment_of_a_ctrl_c_does_not_stay(
    store: Store, monkeypatch: pytest.MonkeyPatch, interrupted: str
):
    whole = getattr(store.blobs, interrupted)

    def interrupt(*given: object) -> None:
        if interrupted == "put_new":
            whole(*given)
        monkeypatch.undo()
        raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt), Leases(store) as mine:
        if interrupted == "delete":
            assert mine.take(STAGE) is None
        monkeypatch.setattr(store.blobs, interrupted, interrupt)
        (mine.release if interrupted == "delete" else mine.take)(STAGE)
        pytest.fail("nothing interrupted it")
    assert not store.blobs.exists(place_of(STAGE).file(LEASE))


# The counter


def wait_for_beats(store: Store, more: int) -> int:
    """Return by how much the count has risen, once that is `more`; or after a minute, which is enough anywhere."""
    (name,) = [blob.name for blob in store.blobs.under("drivers")]

    def beats() -> int:
        return json.loads(store.blobs.get(name) or b"")["beats"]

    goal, end = beats() + more, time.monotonic() + 60
    while beats() < goal and time.monotonic() < end:
        time.sleep(0.005)
    return beats() - goal + more


def test_the_counter_goes_while_the_context_is_open(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(drivers, "BEAT_SECONDS", 0.01)
    with Leases(store):
        assert wait_for_beats(store, 3) >= 3


def test_the_counter_goes_on_after_a_write_that_failed(store: Store, monkeypatch: pytest.MonkeyPatch):
    # Regression: a disk that was full for one beat ended the thread, and a living driver looked dead ever after.
    monkeypatch.setattr(drivers, "BEAT_SECONDS", 0.01)
    real, left = store.blobs.replace, [2]

    def sometimes(name: str, data: bytes) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise StoreError("the disk is full")
        real(name, data)

    monkeypatch.setattr(store.blobs, "replace", sometimes)
    with Leases(store):
        assert wait_for_beats(store, 3) >= 3
