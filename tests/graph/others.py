"""Other drivers of a store, as this process sees them: alive, dead, or on another machine; and a clock to see by."""

import json
import subprocess
import sys
from typing import Any

from nrf_ray.graph.process import identity
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import LEASE, Store, place_of
from tests.graph.toys import node

STAGE = node("x")
ELSEWHERE = {"host": "elsewhere", "machine": "another boot of another machine"}


class Clock:
    """A clock that stands until it is moved; to sleep moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def other_driver(store: Store, stage: Stage = STAGE, name: str = "other", **about: Any) -> None:
    """Put the files of another driver, which holds `stage`, into the store."""
    owner = {"driver": name, "work": "run", **identity(), "beats": 1, **about}
    store.blobs.replace(f"drivers/{name}.json", json.dumps(owner).encode())
    store.blobs.replace(place_of(stage).file(LEASE), json.dumps({"driver": name}).encode())


def dead_pid() -> int:
    """Return the id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid
