"""Identity of this process, and whether a process that was seen before still runs.

A process id alone is not unique: ids are reused, and each machine, boot and container has its own. So a process is
identified by its id, its start time by the system's own count (which no change of the clock affects), and the running
system in which both are valid.
"""

import os
import platform
from functools import cache
from pathlib import Path

import psutil

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")


@cache
def machine() -> str:
    """Return a name for the system in which process ids are valid: one boot of one machine, and one container of it."""
    if not (_BOOT.is_file() and _NAMESPACE.exists()):  # not Linux
        return f"{platform.node()} {psutil.boot_time():.0f}"
    return f"{_BOOT.read_text().strip()} {_NAMESPACE.stat().st_ino}"


def started(pid: int) -> str | None:
    """Return when the process `pid` of this machine started, as the system counts, or None if it does not run."""
    if not _BOOT.is_file():
        return _started_elsewhere(pid)
    try:
        # proc(5): the name may contain anything, so count fields from the last bracket: state is first, the start 20th.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]


def _started_elsewhere(pid: int) -> str | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.0f}"
    except psutil.NoSuchProcess:
        return None


def identity() -> dict[str, str | int]:
    """Return the values that together identify this process among all others; `host` is only for people."""
    pid = os.getpid()
    return {"host": platform.node(), "machine": machine(), "pid": pid, "started": str(started(pid))}
