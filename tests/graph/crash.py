"""Kill a run at every point where it changes the file system, and see what the next run makes of it.

Run as `python -m tests.graph.crash FOLDER`. A fork of this process runs three stages and kills itself at the n-th call
that changes files; another fork resumes with the same command and compares. This process itself never opens a store,
since obstore's threads do not survive a fork. Prints, for each scenario, the number of crash points and what was wrong.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore

from nrf_ray.graph import blobs
from nrf_ray.graph.blobs import TEMPORARY
from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.garbage import collect
from nrf_ray.graph.garbage import find as find_garbage
from nrf_ray.graph.lease import Leases
from nrf_ray.graph.record import launch_provenance
from nrf_ray.graph.source import source_digest
from nrf_ray.graph.stage import Stage, walk
from nrf_ray.graph.store import MARKER, RECORD, Store, place_of
from tests.graph.toys import FILE, Toy, content, flip, node, path_of, pieces, tree

BASE = node("base")
MIDDLE = pieces(Toy(name="middle"), first=BASE).named("middle")
TOP = node("top", MIDDLE, BASE)


def run(folder: Path) -> Store:
    """Do what a user's command does: open the store, hold leases, run."""
    store = Store.open(str(folder), create=True)
    with Leases(store) as leases:
        for stage in walk([TOP]):
            leases.take(stage)
        run_inline([TOP], store)
        for stage in walk([TOP]):
            leases.release(stage)
    return store


def nothing(folder: Path) -> None:
    """Start without a store."""


def damaged_input(folder: Path) -> None:
    """Start with a store whose goal is open and whose middle stage is damaged."""
    store = run(folder)
    shutil.rmtree(path_of(store, TOP).parent)
    flip(path_of(store, MIDDLE, "part 1.txt"))
    flip(path_of(store, MIDDLE))


def other_leftovers(folder: Path) -> None:
    """Start with files of an unfinished run that was of other bytes, and with the note of a failure."""
    store = Store.open(str(folder), create=True)
    store.write(BASE, FILE, b"other bytes")
    store.write(BASE, "left.bin", b"no run writes this")
    store.note_failure(TOP, "ValueError: once", "Traceback")


SCENARIOS: tuple[Callable[[Path], None], ...] = (nothing, damaged_input, other_leftovers)


def forked(work: Callable[[], Any], result: Path | None = None) -> int:
    """Run `work` in a fork, write what it returns as JSON to `result`, and return how the fork ended."""
    pid = os.fork()
    if pid == 0:
        try:
            returned = work()
            if result is not None:
                result.write_text(json.dumps(returned))
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
    return os.waitpid(pid, 0)[1]


def arm(point: int) -> None:
    """Let this process be killed when it is about to make the `point`-th call that changes files."""
    left = [point]

    def about_to_change(tear: Callable[[], object] = lambda: None) -> None:
        left[0] -= 1
        if left[0] == 0:
            tear()
            os.kill(os.getpid(), signal.SIGKILL)

    def patch(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def call(*arguments: Any, **options: Any) -> Any:
            about_to_change()
            return real(*arguments, **options)

        setattr(owner, name, call)

    write = blobs._write_synced

    def write_half(path: Path, data: bytes) -> None:
        about_to_change(lambda: path.write_bytes(data[: len(data) // 2]))
        write(path, data)

    blobs._write_synced = write_half
    for owner, name in ((os, "link"), (os, "fsync"), (Path, "replace"), (Path, "mkdir"), (Path, "unlink")):
        patch(owner, name)
    for name in ("delete", "rename"):
        patch(obstore, name)


def outcome(store: Store) -> dict[str, Any]:
    """Return what all three stages measured and wrote."""
    return {stage.label: content(store, stage) for stage in walk([TOP])}


def half_committed(folder: Path) -> list[str]:
    """Return what is wrong with artifacts that have a record."""
    store = Store.open(str(folder), create=False)
    records = [store.record(place) for place in store.places()]
    return [problem for record in records if record is not None for problem in store.problems(record)]


def resume(folder: Path, expected: dict[str, Any]) -> list[str]:
    """Run the same command again; return what is not as after an uninterrupted run."""
    store = run(folder)
    problems = [] if outcome(store) == expected else ["another outcome"]
    collect(store, find_garbage(store))
    named = {place_of(stage).file(name) for stage in walk([TOP]) for name in (*files_of(expected, stage), RECORD)}
    notes = {name for name in tree(folder) if name.startswith("attempts/") and name.endswith(".json")}
    problems += [f"left over: {name}" for name in sorted(set(tree(folder)) - named - notes - {MARKER})]
    problems += [f"lost: {name}" for name in sorted(named - set(tree(folder)))]
    return problems


def files_of(expected: dict[str, Any], stage: Stage) -> list[str]:
    """Return the names of the data files that `stage` should have."""
    return list(expected[stage.label]["files"])


def crash_everywhere(work: Path, prepare: Callable[[Path], None], expected: dict[str, Any]) -> dict[str, Any]:
    """Return the number of crash points of one scenario, and what was wrong after which of them."""
    prepared, folder, result = work / prepare.__name__, work / "store", work / "result.json"
    prepared.mkdir()
    assert forked(lambda: prepare(prepared)) == 0

    def look_and_resume() -> list[str]:
        damaged = [] if prepare is damaged_input else half_committed(folder)
        return damaged + resume(folder, expected)

    wrong: dict[int, list[str]] = {}
    torn = 0
    point = 0
    while True:
        point += 1
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(prepared, folder)

        def crash(point: int = point) -> None:
            arm(point)
            run(folder)

        status = forked(crash)
        survived = status == 0
        problems = [] if survived or os.WTERMSIG(status) == signal.SIGKILL else [f"ended with status {status}"]
        torn += any(Path(name).name.startswith(TEMPORARY) for name in tree(folder))
        ended = forked(look_and_resume, result)
        problems += json.loads(result.read_text()) if ended == 0 else [f"the next run ended with status {ended}"]
        if problems:
            wrong[point] = problems
        if survived:
            return {"points": point - 1, "with temporary files": torn, "wrong": wrong}


def main(work: Path) -> None:
    """Print what every scenario shows, as JSON."""
    launch_provenance()
    source_digest("tests.graph.toys")
    os.fsync = lambda file: None  # a killed process loses nothing that it has written; only a power cut would
    result = work / "expected.json"
    assert forked(lambda: outcome(run(work / "uninterrupted")), result) == 0
    expected = json.loads(result.read_text())
    print(json.dumps({prepare.__name__: crash_everywhere(work, prepare, expected) for prepare in SCENARIOS}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
