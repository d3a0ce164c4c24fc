"""Reports of running stages, from the process that does the work to the driver.

A thread of each worker writes the headway of its stage into the key-value store of Ray's control process, at most once
a second, and only if it has changed; the driver reads all of them at once. So a stage never waits for a report, and a
report that fails (the head is busy, or gone) is dropped. The driver writes what it read into one file of the store, at
the pace of the page (`page/working.py`), for everybody who has no Ray.

Reports do not go through the store directly, since each would be synced to the disk, or be a request to an object
store: a thousand stages would cost a thousand requests a second. An actor that receives them would be one process more.
Tune's own reports are answered by its event loop, for which the stage would have to stop.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field

from ray.experimental.internal_kv import internal_kv_get_gcs_client

from nrf_ray.graph import headway
from nrf_ray.graph.headway import Headway

REPORT_SECONDS = 1.0
"""Least time between two reports of a stage, and between two readings of the driver."""
NAMESPACE = b"nrf_ray"
PATIENCE = 5.0
"""Seconds after which a report, or a reading, is given up."""


@dataclass(frozen=True)
class Channel:
    """Where the workers of one run report."""

    run: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Unique name of the run."""

    def prefix(self) -> bytes:
        """Return the beginning of the run's keys."""
        return f"headway/{self.run}/".encode()

    def send(self, trial: str, told: Headway) -> None:
        """Replace the report of a trial."""
        key = self.prefix() + trial.encode()
        internal_kv_get_gcs_client().internal_kv_put(key, told.to_bytes(), True, NAMESPACE, PATIENCE)

    def read(self) -> dict[str, Headway]:
        """Return the last report of every trial that made one."""
        client, start = internal_kv_get_gcs_client(), self.prefix()
        keys = client.internal_kv_keys(start, NAMESPACE, PATIENCE)
        found = client.internal_kv_multi_get(keys, NAMESPACE, PATIENCE) if keys else {}
        told = {key.removeprefix(start).decode(): Headway.from_bytes(data) for key, data in found.items()}
        return {trial: report for trial, report in told.items() if report is not None}

    def forget(self, trial: str) -> None:
        """Delete the report of a trial, or those of all trials whose ids begin so."""
        internal_kv_get_gcs_client().internal_kv_del(self.prefix() + trial.encode(), True, NAMESPACE, PATIENCE)


class Reporter:
    """Sender of one process; it reports on one trial after the other."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._trial: str | None = None
        self._woken = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def reporting(self, trial: str) -> Iterator[None]:
        """Report the headway of this process's work as that of `trial` until the context ends."""
        if self._thread is None:  # here and not before, since a thread does not survive a fork
            self._thread = threading.Thread(target=self._run, name="reports", daemon=True)
            self._thread.start()
        self._trial = trial
        self._woken.set()
        try:
            yield
        finally:
            self._trial = None

    def _run(self) -> None:
        sent: tuple[str, int, float] | None = None
        while True:
            self._woken.wait()
            self._woken.clear()
            while (trial := self._trial) is not None:
                time.sleep(REPORT_SECONDS)
                told = headway.current()
                if told is None or self._trial != trial:
                    continue
                now = (trial, told.done, told.share)
                if now != sent:
                    with suppress(Exception):
                        self._channel.send(trial, told)
                        sent = now


def reporting(channel: Channel, trial: str) -> AbstractContextManager[None]:
    """Return the context in which a process that works for `trial` alone reports its headway."""
    return Reporter(channel).reporting(trial)


@contextmanager
def collecting(channel: Channel, live: Callable[[], Mapping[str, object]], told: dict[str, Headway]) -> Iterator[None]:
    """Keep the last reports of the trials that are `live` in `told`, until the context ends.

    At most a tenth of one thread's time goes into it.
    """
    stop = threading.Event()

    def collect() -> None:
        pause = REPORT_SECONDS
        while not stop.wait(pause):
            began = time.monotonic()
            with suppress(Exception):
                found = channel.read()
                alive = set(live())
                for trial in (told.keys() | found.keys()) - alive:
                    told.pop(trial, None)
                    if trial in found:
                        channel.forget(trial)
                told.update((trial, report) for trial, report in found.items() if trial in alive)
            pause = max(REPORT_SECONDS, 10 * (time.monotonic() - began))

    thread = threading.Thread(target=collect, name="collects reports", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(PATIENCE)
        with suppress(Exception):
            channel.forget("")
