"""Collecting garbage while others run: who gives way, who waits, and what a collector that was frozen may not do."""

import json
import os
import platform
import threading
import time
from types import SimpleNamespace

import pytest

from nrf_ray.errors import StoreFailed
from nrf_ray.graph import drivers, garbage
from nrf_ray.graph.drivers import STALE_SECONDS, Heart
from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.garbage import collect
from nrf_ray.graph.lease import Leases
from nrf_ray.graph.process import identity
from nrf_ray.graph.store import LEASE, Store, place_of
from tests.graph.others import ELSEWHERE, STAGE, Clock, other_driver
from tests.graph.toys import FILE, content, node


def test_garbage_is_not_collected_while_a_run_uses_the_store(store: Store):
    store.write(STAGE, "left.bin", b"x")
    with Leases(store):
        found, busy = collect(store)
        assert (found, [str(driver) for driver in busy]) == ([], [f"process {os.getpid()} on {platform.node()}"])
    found, busy = collect(store)
    assert ([blob.name for blob in found], busy) == ([place_of(STAGE).file("left.bin")], [])


def test_a_run_killed_on_another_machine_needs_no_unlock(store: Store, clock: Clock):
    # Regression: `nrf gc` refused for ever, and had to be told that the run was dead.
    other_driver(store, **ELSEWHERE)
    began = clock.now
    found, busy = collect(store)
    assert (busy, clock.now - began > STALE_SECONDS) == ([], True)
    assert [blob.name for blob in found] == ["drivers/other.json", place_of(STAGE).file(LEASE)]


def test_a_run_that_lives_on_another_machine_is_seen_to(store: Store, monkeypatch: pytest.MonkeyPatch):
    other_driver(store, **ELSEWHERE)
    beats = iter(range(2, 100))
    sleep = SimpleNamespace(
        monotonic=time.monotonic, sleep=lambda seconds: other_driver(store, **ELSEWHERE, beats=next(beats))
    )
    monkeypatch.setattr(drivers, "time", sleep)
    found, busy = collect(store)
    assert (found, [driver.host for driver in busy]) == ([], ["elsewhere"])


def test_a_run_that_starts_in_the_middle_of_a_collection_waits_for_its_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    # Regression: it took files of an earlier run for its own, which were deleted under it before it had its record.
    stage = node("late")
    store.write(stage, FILE, b"late()")
    done: list[str] = []

    def run() -> None:
        with Leases(store) as leases:
            done.append("started")
            leases.take(stage)
            run_inline([stage], store)

    starting = threading.Thread(target=run)
    real = store.blobs.delete

    def slow(name: str) -> None:
        if not starting.ident:
            starting.start()
            time.sleep(3 * drivers.LOOK_SECONDS)
            assert done == [], "it has not begun"
        real(name)

    monkeypatch.setattr(store.blobs, "delete", slow)
    assert [blob.name for blob in collect(store)[0]] == [place_of(stage).file(FILE)]
    starting.join()
    assert store.problems(store.artifact(stage).record) == []


def test_of_two_collections_at_once_the_second_gives_way(store: Store):
    store.write(STAGE, "left.bin", b"x")
    with Heart(store.blobs, "gc"):
        assert [driver.work for driver in collect(store)[1]] == ["gc"]


def test_a_collection_that_was_killed_on_another_machine_holds_no_run_up(store: Store, clock: Clock):
    other_driver(store, work="gc", **ELSEWHERE)
    with Leases(store):
        assert clock.now > 1000.0 + STALE_SECONDS
    assert store.blobs.under("drivers") == []


def test_a_collection_does_not_take_its_own_beat_for_another_driver(store: Store, monkeypatch: pytest.MonkeyPatch):
    # Regression: the file that its own counter was just being written to looked like a driver that lives.
    mine = {"driver": "mine", "work": "gc", **identity(), "beats": 1}
    left = store.blobs.root / "drivers" / ".tmp-123"
    left.parent.mkdir()
    left.write_text(json.dumps(mine))
    found, busy = collect(store)
    assert ([blob.name for blob in found], busy) == (["drivers/.tmp-123"], []), "left by a process that was killed"
    left.write_text(json.dumps(mine))
    monkeypatch.setattr(drivers, "time", SimpleNamespace(monotonic=time.monotonic, sleep=lambda s: left.unlink()))
    assert collect(store) == ([], []), "it was being written"


def test_a_collection_that_was_frozen_deletes_nothing_that_a_run_has_taken_over(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch, ran: list[str]
):
    # Regression: it went on with its list, and deleted files out of artifacts that had their record by then.
    stages = [node(name) for name in ("first", "second")]
    for stage in stages:
        store.write(stage, FILE, f"{stage.title}()".encode())
    real = garbage.find

    def find_and_freeze(store: Store, dead: list[str]) -> list[garbage.Blob]:
        found = real(store, dead)
        assert {blob.name for blob in found} == {place_of(stage).file(FILE) for stage in stages}
        with Leases(store):
            assert clock.now > 1000.0 + STALE_SECONDS, "a run takes it for dead, but not at once"
            run_inline(stages, store)
        return found

    monkeypatch.setattr(garbage, "find", find_and_freeze)
    with pytest.raises(StoreFailed, match=r"was suspended for more than 45 s.* run nrf gc again"):
        collect(store)
    assert [content(store, stage)["files"] for stage in stages] == [{FILE: "first()"}, {FILE: "second()"}]
    assert store.blobs.under("drivers") == []


def test_at_most_one_file_is_lost_to_a_collection_that_was_frozen_while_it_deleted(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch, ran: list[str]
):
    stages = [node(name) for name in ("first", "second", "third")]
    for stage in stages:
        store.write(stage, FILE, f"{stage.title}()".encode())
    real, frozen = store.blobs.delete, []

    def freeze_and_delete(name: str) -> None:
        if name.endswith(FILE) and not frozen:
            frozen.append(name)
            with Leases(store):
                run_inline(stages, store)
        real(name)

    monkeypatch.setattr(store.blobs, "delete", freeze_and_delete)
    with pytest.raises(StoreFailed, match="was suspended"):
        collect(store)
    damaged = [stage for stage in stages if store.problems(store.artifact(stage).record)]
    assert [place_of(stage).file(FILE) for stage in damaged] == frozen
    run_inline([node("user", damaged[0])], store)
    assert content(store, damaged[0])["files"] == {FILE: f"{damaged[0].title}()"}, "who reads it builds it again"


def test_what_a_killed_collection_leaves_is_collected(store: Store):
    store.blobs.put_new("drivers/dead.permit", b"")
    other_driver(store, work="gc", **ELSEWHERE)
    store.blobs.delete("drivers/other.json")
    assert {blob.name for blob in collect(store)[0]} == {"drivers/dead.permit", place_of(STAGE).file(LEASE)}
