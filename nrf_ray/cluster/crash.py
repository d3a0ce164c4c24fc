"""Tracebacks of crashed Python processes.

A segmentation fault or an abort ends a process without an exception. While a stage works, Python's fault handler writes
to a file for that stage; text that is found there afterwards is the traceback of a crash.
"""

import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nrf_ray.graph.canonical import Key


@contextmanager
def crash_trace(folder: str | None, key: Key, part: str = "") -> Iterator[None]:
    """Keep a file in `folder` into which a crash writes its traceback; delete the file if nothing crashed."""
    if folder is None:
        yield
        return
    path = Path(folder) / f"{key}{part}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        faulthandler.enable(file, all_threads=False)
        try:
            yield
        finally:
            faulthandler.enable(all_threads=False)
            path.unlink(missing_ok=True)


def take_trace(folder: str | None, key: Key) -> str:
    """Return the tracebacks that crashes of the stage `key` left, and delete them; empty if there are none."""
    files = sorted(Path(folder).glob(f"{key}*.txt")) if folder else []
    return "\n".join(filter(None, map(_take, files)))


def _take(path: Path) -> str:
    """Return the text of a file, and delete it; empty if it is missing: living workers may end at any moment."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    path.unlink(missing_ok=True)
    return text
