"""What a tree of processes takes, watched while it works: its memory, and the cores that it leaves to others."""

import threading
import time
from pathlib import Path

import psutil

SAMPLE_SECONDS = 0.25
LOOK_SECONDS = 0.25
"""Between two looks at what our processes worked, of a few milliseconds each; what one did after the last is lost."""


class MemoryWatch:
    """Watches all processes below this one, or below the process `root`, while it is open."""

    largest_process = 0.0
    """Largest resident memory that any single one ever had, MiB (VmHWM; pages shared with others count in full)."""
    largest_worker = 0.0
    """The same over the processes that Ray gives work to."""
    largest_sum = 0.0
    """Largest sum over all of them, MiB; a page that several share counts once (PSS, sampled)."""

    def __init__(self, root: int | None = None) -> None:
        self._root = psutil.Process(root)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            together = 0.0
            for pid in [child.pid for child in self._root.children(recursive=True)]:
                name, peak, share = memory_of(pid)
                together += share
                self.largest_process = max(self.largest_process, peak)
                if name.startswith("ray::"):
                    self.largest_worker = max(self.largest_worker, peak)
            self.largest_sum = max(self.largest_sum, together)


def memory_of(pid: int) -> tuple[str, float, float]:
    """Return the name of a process, its peak resident memory and its share now, in MiB; nothing where it is gone."""
    here = Path(f"/proc/{pid}")
    try:
        name = (here / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return name, _mib(here / "status", "VmHWM:"), _mib(here / "smaps_rollup", "Pss:")
    except (FileNotFoundError, ProcessLookupError):
        return "", 0.0, 0.0


def _mib(file: Path, field: str) -> float:
    found = [line.split()[1] for line in file.read_text().splitlines() if line.startswith(field)]
    return float(found[0]) / 1024 if found else 0.0


class OthersWatch:
    """How many cores other processes kept busy meanwhile, mean over the time inside `with`.

    Ours are this process and all below it. Their work is read again and again, since what a process did is gone with it
    where its parent does not wait for it, as Ray's does not.
    """

    cores = 0.0

    def __init__(self) -> None:
        self._worked: dict[tuple[int, float], float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "OthersWatch":
        self._began, self._busy = time.perf_counter(), busy_seconds() - self.ours()
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._thread.join()
        others = busy_seconds() - self.ours() - self._busy
        self.cores = max(0.0, others / (time.perf_counter() - self._began))

    def ours(self) -> float:
        """Return the seconds that our processes worked, those that have ended included."""
        for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
            try:
                took = process.cpu_times()
                self._worked[process.pid, process.create_time()] = float(took.user + took.system)
            except psutil.NoSuchProcess:
                continue
        return sum(self._worked.values())

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            self.ours()


def busy_seconds() -> float:
    """Return the seconds that all processes of this machine worked since it started."""
    busy = psutil.cpu_times()
    return float(sum(busy[:8]) - busy.idle - getattr(busy, "iowait", 0.0))
