"""Digests of our own stages' code, kept beside the bytecode that Python keeps, under the same conditions.

To compute the digest of a stage takes about a second, and every process of a run needs it. So it is kept until a file
of the package changes: in size, in the time of its last change, or by coming or going. If it cannot be written, or
Python was told to keep no bytecode, it is computed each time.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

PACKAGE = __name__.partition(".")[0]
FOLDER = Path(__file__).parents[1]
"""Where the package is."""


def kept(compute: Callable[[], str], name: str) -> str:
    """Return the digest that was kept for `name`, a function of this package; if there is none, compute and keep it."""
    state, digests = _state(), _read()
    if digests.get("state") == state and isinstance(digests.get(name), str):
        return str(digests[name])
    computed = compute()
    if not sys.dont_write_bytecode:
        before = _read()
        _write({**(before if before.get("state") == state else {"state": state}), name: computed})
    return computed


def file() -> Path:
    """Return the file of the digests, which names the version of Python, since that affects them."""
    return Path(cache_from_source(__file__)).with_suffix(".json")


@cache
def _state() -> list[list[str | int]]:
    """Return name, size and time of the last change of every file of the package, as this process found it."""
    return [[name, found.st_size, found.st_mtime_ns] for name, found in sorted(_files(FOLDER, ""))]


def _files(folder: Path, below: str) -> Iterator[tuple[str, os.stat_result]]:
    for entry in os.scandir(folder):
        if entry.is_dir():
            yield from _files(Path(entry.path), f"{below}{entry.name}/")
        elif entry.name.endswith(".py"):
            yield f"{below}{entry.name}", entry.stat()


def _read() -> dict[str, Any]:
    try:
        digests = json.loads(file().read_bytes())
    except (OSError, ValueError):
        return {}
    return digests if isinstance(digests, dict) else {}


def _write(digests: dict[str, Any]) -> None:
    """Write the file if that is possible; a process that reads it meanwhile finds the old or the new one."""
    path, own = file(), file().with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(exist_ok=True)
        own.write_text(json.dumps(digests))
        own.replace(path)
    except OSError:
        with suppress(OSError):
            own.unlink()
