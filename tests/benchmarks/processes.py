"""How much memory a tree of processes holds, watched from outside while it works."""

import threading
from pathlib import Path

import psutil

SAMPLE_SECONDS = 0.25


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
