"""Drivers: the processes at work on a store, each known by one file with a counter that goes while it lives.

Whether a driver lives is seen by its process where it runs on this machine, and elsewhere by its counter: one that
stands still for long enough, by the clock of whoever watches, is dead. Clocks of two machines are never compared, and
nothing that a dead driver left ever has to be unlocked by hand.

A driver either runs stages or collects garbage. Each kind makes itself known first and looks for the other then, so of
two that start at once at least one sees the other: a collector gives way, and a run waits for it.

A collector that was taken for dead may only have been frozen, and would go on deleting what runs have found since. So
it has a permit beside its counter, which is never written again; whoever takes it for dead removes that first, and the
collector looks for it before every file. What is left is the one file at which it was frozen between look and deletion;
a stage that took over just that file is found damaged when it is read, and built again.
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
"""A driver of another machine (or a frozen one) counts as dead when its counter has stood still for this long."""
LOOK_SECONDS = 0.2
FOLDER = "drivers"

Work = Literal["run", "gc"]


@dataclass(frozen=True, kw_only=True)
class Driver:
    """What a driver says of itself."""

    driver: str
    """A name that no other has."""
    work: Work
    """Whether it runs stages or collects garbage."""
    host: str
    """Name of its machine, for people."""
    machine: str
    """What its process id belongs to."""
    pid: int
    """Its process id."""
    started: str
    """When its process started, as its system counts."""
    beats: int
    """The counter."""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def is_here(self) -> bool:
        """Whether it runs, or ran, where its process id can be looked up."""
        return self.machine == machine()

    @property
    def is_known_dead(self) -> bool:
        """Whether its process is gone; False where that cannot be seen from here."""
        return self.is_here and started(self.pid) != self.started


class Heart:
    """Makes this process known as a driver, as a context: its counter goes while the context is open."""

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
        except BaseException:  # an interrupt, say: nobody should wait for a driver that never began
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
        """Raise StoreFailed where this collector was taken for dead, so that others count on what it would delete."""
        if not self._blobs.exists(_permit_of(self.driver)):
            raise StoreFailed(
                f"this collection stood still for more than {STALE_SECONDS:.0f} s, so a run took it for dead and uses "
                "the store; what is left was not removed: run nrf gc again when no run is at work"
            )

    def _keep_beating(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            # A disk that is full for a moment must not make a living driver look dead for ever: the next beat may do.
            with suppress(StoreError):
                self._beat()

    def _beat(self) -> None:
        self._beats += 1
        about = {"driver": self.driver, "work": self._work, **identity(), "beats": self._beats}
        self._blobs.replace(_file_of(self.driver), json.dumps(about).encode())


class Watch:
    """Tells living drivers from dead ones, over time."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}

    def lives(self, driver: Driver) -> bool:
        """Return whether `driver`, as its file says now, lives; one that was never seen before gets the benefit."""
        if driver.is_known_dead:
            return False
        beats, since = self._seen.get(driver.driver, (-1, 0.0))
        if driver.beats != beats:
            self._seen[driver.driver] = (driver.beats, time.monotonic())
            return True
        return time.monotonic() - since < STALE_SECONDS


def driver_named(blobs: Blobs, name: str) -> Driver | None:
    """Return what the driver `name` says of itself; None where its file is gone or damaged, which counts as dead."""
    return _read(blobs, _file_of(name)) if re.fullmatch("[0-9a-z]{1,64}", name) else None


def drivers_of(blobs: Blobs) -> dict[str, Driver | None]:
    """Return every driver that has a file in the store, by the file's name; not files that are just being written."""
    return {name: _read(blobs, name) for name in _names(blobs) if name.endswith(".json")}


def live_drivers(blobs: Blobs) -> list[Driver]:
    """Return the drivers that are not known to be dead, from one look."""
    return [driver for driver in drivers_of(blobs).values() if driver and not driver.is_known_dead]


def dead_files(blobs: Blobs) -> list[str]:
    """Return the files of drivers that are known to be dead, from one look."""
    return [name for name, driver in drivers_of(blobs).items() if driver is None or driver.is_known_dead]


def wait_for_collectors(blobs: Blobs) -> None:
    """Return when nobody collects garbage; a collector is done soon, or it is dead, which shows soon."""
    watch = Watch()
    while collectors := {n: d for n, d in drivers_of(blobs).items() if d and d.work == "gc"}:
        for name, driver in collectors.items():
            if not watch.lives(driver):
                blobs.delete(_permit_of(driver.driver))
                blobs.delete(name)
        time.sleep(LOOK_SECONDS)


class Survey(NamedTuple):
    """Who else is at work on a store, and who is not any more."""

    busy: list[Driver]
    """Drivers that live; whether the others do was not waited for."""
    dead: list[str]
    """Files of drivers that are dead; complete where nobody is busy."""


def survey(blobs: Blobs, heart: Heart) -> Survey:
    """Return once a driver other than `heart` is seen to live, or all are known to be dead.

    One on this machine lives as long as its process does. Of one elsewhere the counter is watched until it moves, which
    shows that it lives, or has stood still for `STALE_SECONDS`.
    """
    watch, first = Watch(), {d.driver: d.beats for d in live_drivers(blobs)}
    # Half a beat of some driver, or the permit of a collector that was killed.
    half_written = {name for name in _names(blobs) if not name.endswith(".json")} - {_permit_of(heart.driver)}
    while True:
        others = {name: driver for name, driver in drivers_of(blobs).items() if name != _file_of(heart.driver)}
        living = [driver for driver in others.values() if driver and watch.lives(driver)]
        busy = [driver for driver in living if driver.is_here or driver.beats != first.get(driver.driver)]
        if busy or not living:
            break
        time.sleep(LOOK_SECONDS)
    if half_written:
        time.sleep(LOOK_SECONDS)  # what is still there then, nobody is writing
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
