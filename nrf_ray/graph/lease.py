"""Leases: so that two runs on one store seldom do the same work twice.

A driver writes one file about itself and keeps a counter in it going; the stages that it has handed out carry its
name. Whoever finds such a name looks whether that driver lives: on the same host by its process, elsewhere by whether
the counter moves. Clocks of two hosts are never compared, and no lease ever needs to be unlocked by hand.

A lease saves work and guards nothing: what is committed is decided by the store alone.
"""

import json
import platform
import threading
import time
import uuid
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import psutil
from obstore.exceptions import BaseError

from nrf_ray.errors import StoreError
from nrf_ray.graph.blobs import Blobs
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import LEASE, Store, place_of

BEAT_SECONDS = 5.0
STALE_SECONDS = 45.0
"""A driver of another host (or a frozen one) counts as dead when its counter has stood still for this long."""


class Leases:
    """The leases of one driver, as a context: its counter goes while the context is open."""

    def __init__(self, store: Store) -> None:
        self._blobs: Blobs = store.blobs
        self._driver = uuid.uuid4().hex
        self._lease = json.dumps({"driver": self._driver}).encode()
        self._beats = 0
        self._stop = threading.Event()
        self._held: set[str] = set()
        self._seen: dict[str, tuple[int, float]] = {}

    def __enter__(self) -> Self:
        self._beat()
        self._thread = threading.Thread(target=self._keep_beating, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        for name in list(self._held):
            self._drop(name)
        self._blobs.delete(_driver_name(self._driver))

    def take(self, stage: Stage) -> str | None:
        """Take the lease of `stage`; return None, or who else works on it."""
        name = place_of(stage).file(LEASE)
        if not self._blobs.put_new(name, self._lease):
            holder = _holder(self._blobs, stage)
            if holder is not None and holder["driver"] != self._driver and self._lives(holder):
                return _describe(holder)
            self._blobs.replace(name, self._lease)
        self._held.add(name)
        return None

    def release(self, stage: Stage) -> None:
        """Give the lease of `stage` back."""
        name = place_of(stage).file(LEASE)
        self._held.discard(name)
        self._drop(name)

    def _drop(self, name: str) -> None:
        """Delete a lease unless another driver has taken it over."""
        if self._blobs.get(name) == self._lease:
            self._blobs.delete(name)

    def _lives(self, holder: dict[str, Any]) -> bool:
        if _same_host(holder) and not _process_lives(holder):
            return False
        beats, since = self._seen.get(holder["driver"], (-1, 0.0))
        if holder["beats"] != beats:
            self._seen[holder["driver"]] = (holder["beats"], time.monotonic())
            return True
        return time.monotonic() - since < STALE_SECONDS

    def _keep_beating(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            # A disk that is full for a moment must not make a living driver look dead for ever: the next beat may do.
            with suppress(StoreError, BaseError):
                self._beat()

    def _beat(self) -> None:
        self._beats += 1
        process = psutil.Process()
        owner = {
            "driver": self._driver,
            "host": platform.node(),
            "pid": process.pid,
            "process_started": process.create_time(),
            "beats": self._beats,
        }
        self._blobs.replace(_driver_name(self._driver), json.dumps(owner).encode())


def running_elsewhere(store: Store, stage: Stage) -> str | None:
    """Return who seems to be working on `stage` now, from one look, or None."""
    holder = _holder(store.blobs, stage)
    if holder is None or (_same_host(holder) and not _process_lives(holder)):
        return None
    return _describe(holder)


def live_drivers(store: Store) -> list[str]:
    """Return the drivers that have a file in the store and are not known to be dead."""
    owners = [owner for blob in store.blobs.under("drivers") if (owner := _read_owner(store.blobs, blob.name))]
    return [_describe(owner) for owner in owners if not (_same_host(owner) and not _process_lives(owner))]


def _holder(blobs: Blobs, stage: Stage) -> dict[str, Any] | None:
    """Return what is known of the driver that holds the lease of `stage`; None where none does or it is gone."""
    lease = blobs.get_json(place_of(stage).file(LEASE))
    return _read_owner(blobs, _driver_name(str(lease.get("driver")))) if lease else None


def _read_owner(blobs: Blobs, name: str) -> dict[str, Any] | None:
    """Return what a driver says of itself; None where its file is gone or damaged, which counts as dead."""
    owner = blobs.get_json(name)
    return owner if owner and set(owner) >= {"driver", "host", "pid", "process_started", "beats"} else None


def _driver_name(driver: str) -> str:
    return f"drivers/{driver}.json"


def _same_host(holder: dict[str, Any]) -> bool:
    return bool(holder["host"] == platform.node())


def _process_lives(holder: dict[str, Any]) -> bool:
    """Return whether the very process still runs; a pid that was given to another one does not count."""
    try:
        process = psutil.Process(holder["pid"])
        same = abs(process.create_time() - holder["process_started"]) < 1.0
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _describe(holder: dict[str, Any]) -> str:
    return f"process {holder['pid']} on {holder['host']}"
