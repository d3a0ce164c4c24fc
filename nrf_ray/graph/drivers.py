"""Drivers: the processes at work on a store. Each has one file, with a counter that increases while it is alive.

A driver is dead if it ran on this machine and its process is gone. Otherwise its counter decides: if the counter has
not changed for long enough, by the clock of the process that watches, the driver is dead. Clocks of two machines are
never compared, and nothing that a dead driver left ever has to be unlocked by hand.

A driver either runs stages or collects garbage. Each writes its file first and then looks for drivers of the other
kind, so if two start at once, at least one sees the other: a collector gives way, and a run waits for the collector.

A collector that was taken for dead may only have been suspended, and would go on to delete files that runs have found
since. So it also has a permit, a file that is written only once. A run that takes the collector for dead deletes the
permit first, and the collector checks its permit before it deletes each file. One gap remains: the file between whose
check and deletion the collector was suspended. If a stage took over just that file, the artifact is found damaged when
it is read, and is built again.
"""

import json
import re
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Literal, NamedTuple, Self

from nrf_ray.errors import StoreError, StoreFailed
from nrf_ray.graph.blobs import Blobs
from nrf_ray.graph.process import identity, machine, started

BEAT_SECONDS = 5.0
STALE_SECONDS = 45.0
"""A driver on another machine (or a suspended one) counts as dead if its counter has not changed for this long."""
LOOK_SECONDS = 0.2
FOLDER = "drivers"

Work = Literal["run", "gc"]


@dataclass(frozen=True, kw_only=True)
class Driver:
    """The contents of a driver's file."""

    driver: str
    """Unique name of the driver."""
    work: Work
    """Whether it runs stages or collects garbage."""
    host: str
    """Name of its machine, for people."""
    machine: str
    """The running system in which its process id is valid."""
    pid: int
    """Its process id."""
    started: str
    """Start time of its process, as its system counts."""
    beats: int
    """Value of the counter."""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def process(self) -> dict[str, str | int]:
        """Identity of its process, as `process.identity` gave it."""
        return {"host": self.host, "machine": self.machine, "pid": self.pid, "started": self.started}

    @property
    def is_here(self) -> bool:
        """Whether it runs, or ran, in this running system, where its process id can be looked up."""
        return self.machine == machine()

    @property
    def is_known_dead(self) -> bool:
        """Whether its process is gone; False if that cannot be seen from here."""
        return self.is_here and started(self.pid) != self.started


class Heart:
    """Context manager that registers this process as a driver, and increases its counter while it is open."""

    def __init__(self, blobs: Blobs, work: Work) -> None:
        self.driver = uuid.uuid4().hex
        self._blobs = blobs
        self._work: Work = work
        self._beats = 0
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        if self._work == "gc":
            self._blobs.put_new(_permit_of(self.driver), b"")
        self._beat()
        self._thread = threading.Thread(target=self._keep_beating, daemon=True)
        self._thread.start()
        try:
            if self._work == "run":
                wait_for_collectors(self._blobs)
        except BaseException:  # such as an interrupt: others should not wait for a driver that never began
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._blobs.delete(_file_of(self.driver))
        if self._work == "gc":
            self._blobs.delete(_permit_of(self.driver))

    def check_permit(self) -> None:
        """Raise StoreFailed if a run took this collector for dead and so may use files that it would delete."""
        if not self._blobs.exists(_permit_of(self.driver)):
            raise StoreFailed(
                f"nrf gc was suspended for more than {STALE_SECONDS:.0f} s, so a run assumed that it had died and now "
                "uses the store; the remaining garbage was not deleted: run nrf gc again when no run is active"
            )

    def _keep_beating(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            # A disk that is full for a moment must not make a living driver look dead: the next beat may succeed.
            with suppress(StoreError):
                self._beat()

    def _beat(self) -> None:
        self._beats += 1
        about = {"driver": self.driver, "work": self._work, **identity(), "beats": self._beats}
        self._blobs.replace(_file_of(self.driver), json.dumps(about).encode())


class Watch:
    """Observer of counters over time, which tells living drivers from dead ones."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}

    def lives(self, driver: Driver) -> bool:
        """Return whether `driver`, read from its file now, is alive; if it was never seen before, assume that it is."""
        if driver.is_known_dead:
            return False
        beats, since = self._seen.get(driver.driver, (-1, 0.0))
        if driver.beats != beats:
            self._seen[driver.driver] = (driver.beats, time.monotonic())
            return True
        return time.monotonic() - since < STALE_SECONDS


def driver_named(blobs: Blobs, name: str) -> Driver | None:
    """Return the driver `name`, or None if its file is missing or damaged; then it counts as dead."""
    return _read(blobs, _file_of(name)) if re.fullmatch("[0-9a-z]{1,64}", name) else None


def drivers_of(blobs: Blobs) -> dict[str, Driver | None]:
    """Return the driver of each file in the store, None if the file is damaged; files being written are left out."""
    return {name: _read(blobs, name) for name in _names(blobs) if name.endswith(".json")}


def live_drivers(blobs: Blobs) -> list[Driver]:
    """Return the drivers that are not known to be dead, without watching their counters."""
    return [driver for driver in drivers_of(blobs).values() if driver and not driver.is_known_dead]


def dead_files(blobs: Blobs) -> list[str]:
    """Return the files of drivers that are known to be dead, and damaged files, without watching counters."""
    return [name for name, driver in drivers_of(blobs).items() if driver is None or driver.is_known_dead]


def wait_for_collectors(blobs: Blobs) -> None:
    """Wait until no driver collects garbage: a collector is done soon, or it is dead, which is noticed soon."""
    watch = Watch()
    while collectors := {n: d for n, d in drivers_of(blobs).items() if d and d.work == "gc"}:
        for name, driver in collectors.items():
            if not watch.lives(driver):
                blobs.delete(_permit_of(driver.driver))
                blobs.delete(name)
        time.sleep(LOOK_SECONDS)


class Survey(NamedTuple):
    """The other drivers of a store, living and dead."""

    busy: list[Driver]
    """Drivers seen to be alive; the survey did not wait to see whether others are."""
    dead: list[str]
    """Files of drivers that are dead; only valid if `busy` is empty."""


def survey(blobs: Blobs, heart: Heart) -> Survey:
    """Return once a driver other than `heart` is seen to be alive, or all others are known to be dead.

    A driver on this machine is alive as long as its process is. A driver on another machine is alive if its counter
    changes, and dead if the counter does not change for `STALE_SECONDS`; wait until either happens.
    """
    watch, first = Watch(), {d.driver: d.beats for d in live_drivers(blobs)}
    # Half-written driver files, and permits of collectors that were killed.
    half_written = {name for name in _names(blobs) if not name.endswith(".json")} - {_permit_of(heart.driver)}
    while True:
        others = {name: driver for name, driver in drivers_of(blobs).items() if name != _file_of(heart.driver)}
        living = [driver for driver in others.values() if driver and watch.lives(driver)]
        busy = [driver for driver in living if driver.is_here or driver.beats != first.get(driver.driver)]
        if busy or not living:
            break
        time.sleep(LOOK_SECONDS)
    if half_written:
        time.sleep(LOOK_SECONDS)  # files that are still there then are not being written
    return Survey(busy, [*others, *half_written.intersection(_names(blobs))])


def _names(blobs: Blobs) -> list[str]:
    return [blob.name for blob in blobs.under(FOLDER)]


def _read(blobs: Blobs, name: str) -> Driver | None:
    found = blobs.get_json(name)
    try:
        driver = Driver(**found) if found else None
    except TypeError:
        return None
    expected = {"beats": int, "pid": int}
    whole = driver and all(isinstance(value, expected.get(key, str)) for key, value in asdict(driver).items())
    return driver if whole else None


def _file_of(driver: str) -> str:
    return f"{FOLDER}/{driver}.json"


def _permit_of(collector: str) -> str:
    return f"{FOLDER}/{collector}.permit"
