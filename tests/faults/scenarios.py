"""What is run under faults: four toy stages, from stores in several states, and how the outcome is judged."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nrf_ray.graph.execute import Context, run_inline
from nrf_ray.graph.frontier import Frontier
from nrf_ray.graph.garbage import collect
from nrf_ray.graph.lease import Leases
from nrf_ray.graph.stage import Metrics, stage, walk
from nrf_ray.graph.store import MARKER, RECORD, Store, place_of
from tests.graph.toys import FILE, Toy, content, flip, node, path_of, pieces, tree


@stage(version=1, cost=lambda handle: 1.0)
def steps(config: Toy, context: Context) -> Metrics:
    """Hash a text three times, with a checkpoint after each; the result is the same from wherever it goes on."""
    state = context.latest_checkpoint() or b"0" + config.name.encode()
    for step in range(int(state[:1]) + 1, 4):
        state = b"%d" % step + hashlib.sha256(state).digest()
        context.save_checkpoint(step, state)
    context.write(FILE, state.hex().encode())
    return {"steps": 3}


BASE = node("base")
MIDDLE = pieces(Toy(name="middle"), first=BASE).named("middle")
STEPS = steps(Toy(name="steps")).named("steps")
TOP = node("top", MIDDLE, STEPS, BASE)


def run(folder: Path) -> Frontier:
    """Do what a user's command does: open the store, hold leases, run."""
    store = Store.open(str(folder), create=True)
    with Leases(store) as leases:
        taken = [one for one in walk([TOP]) if leases.take(one) is None]
        frontier = run_inline([TOP], store)
        for one in taken:
            leases.release(one)
    return frontier


def clean_up(folder: Path) -> None:
    """Do what `nrf gc` does."""
    collect(Store.open(str(folder), create=True))


def nothing(folder: Path) -> None:
    """Start without a store."""


def damaged_input(folder: Path) -> None:
    """Start with a store whose goal is open and whose middle stage is damaged."""
    run(folder)
    store = Store.open(str(folder), create=False)
    shutil.rmtree(path_of(store, TOP).parent)
    flip(path_of(store, MIDDLE, "part 1.txt"))
    flip(path_of(store, MIDDLE))


def other_leftovers(folder: Path) -> None:
    """Start with files of an unfinished run that was of other bytes, and with the note of a failure."""
    store = Store.open(str(folder), create=True)
    store.write(BASE, FILE, b"other bytes")
    store.write(BASE, "left.bin", b"no run writes this")
    store.note_failure(TOP, "ValueError: once", "Traceback")


def full_of_garbage(folder: Path) -> None:
    """Start with a finished store, a quarantine, leftovers and the lease of a driver that is dead."""
    damaged_input(folder)
    run(folder)
    store = Store.open(str(folder), create=False)
    store.write(node("never run"), "left.bin", b"x")
    store.write(BASE, "left.bin", b"x")
    store.blobs.put_new(place_of(BASE).file("lease.json"), b'{"driver": "dead"}')
    store.blobs.put_new("drivers/dead.json", b"{}")


Scenario = tuple[Callable[[Path], None], Callable[[Path], Any]]
SCENARIOS: dict[str, Scenario] = {
    "nothing": (nothing, run),
    "damaged_input": (damaged_input, run),
    "other_leftovers": (other_leftovers, run),
    "full_of_garbage": (full_of_garbage, clean_up),
}
"""By name: how the store is prepared, and what is done under faults."""


def outcome(folder: Path) -> dict[str, Any]:
    """Return what all stages measured and wrote."""
    store = Store.open(str(folder), create=False)
    return {one.label: content(store, one) for one in walk([TOP])}


def half_committed(folder: Path) -> list[str]:
    """Return what is wrong with artifacts that have a record."""
    store = Store.open(str(folder), create=False)
    records = [store.record(place) for place in store.places()]
    return [problem for record in records if record is not None for problem in store.problems(record)]


def resume(folder: Path, expected: dict[str, Any]) -> list[str]:
    """Run the same command again; return what is not as after an uninterrupted run."""
    run(folder)
    problems = [] if outcome(folder) == expected else ["another outcome"]
    clean_up(folder)
    store = Store.open(str(folder), create=False)
    named = {
        place_of(one).file(name)
        for one in walk([TOP])
        for name in (RECORD, *(entry.blob for entry in store.artifact(one).record.files))
    }
    found = {name for name in tree(folder) if not name.startswith("attempts/")}
    problems += [f"left over: {name}" for name in sorted(found - named - {MARKER})]
    problems += [f"lost: {name}" for name in sorted(named - found)]
    return problems


def without_sync() -> None:
    """Leave fsync out: a killed process loses nothing that it has written, only a power cut would."""
    os.fsync = lambda file: None
