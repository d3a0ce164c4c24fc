"""Make this process fail at its n-th call that touches files: be killed, be stopped, or get an error of the system."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nrf_ray.graph import folder

CHANGES = ((os, "link"), (os, "fsync"), (os, "rmdir"), *((Path, n) for n in ("replace", "mkdir", "unlink", "rename")))
READS = ((os, "open"), (os, "scandir"), (os, "lstat"))


class Count:
    """Counts calls; `fail` is called at the `point`-th."""

    def __init__(self, point: int, fail: Callable[[Callable[[], object]], None], *, ever_after: bool = False) -> None:
        self.seen = 0
        self._point, self._fail, self._ever_after = point, fail, ever_after

    def call(self, tear: Callable[[], object] = lambda: None) -> None:
        """Take note of a call; `tear` does half of it."""
        self.seen += 1
        if self.seen == self._point or (self._ever_after and self.seen > self._point):
            self._fail(tear)

    def watch(self, *owners: tuple[Any, str]) -> None:
        """Count the calls of functions, and of the one that writes files."""
        for owner, name in owners:
            self._patch(owner, name)
        write = folder._write_synced

        def write_half(path: Path, data: bytes) -> None:
            self.call(lambda: path.write_bytes(data[: len(data) // 2]))
            write(path, data)

        folder._write_synced = write_half

    def _patch(self, owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            self.call()
            return real(*arguments, **options)

        setattr(owner, name, counted)


def signal_at(point: int, number: signal.Signals) -> None:
    """Let this process get a signal when it is about to make the `point`-th call that changes files."""

    def fail(tear: Callable[[], object]) -> None:
        if number == signal.SIGKILL:
            tear()
        os.kill(os.getpid(), number)

    Count(point, fail).watch(*CHANGES)


def error_at(point: int, number: int, *, ever_after: bool) -> Count:
    """Let the `point`-th call that touches files (and perhaps all that follow) fail with an error of the system."""

    def fail(tear: Callable[[], object]) -> None:
        tear()
        raise OSError(number, os.strerror(number))

    count = Count(point, fail, ever_after=ever_after)
    count.watch(*CHANGES, *READS)
    return count
