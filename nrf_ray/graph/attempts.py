"""Attempts: how often a stage was started until a process committed it.

A stage that succeeds at once leaves no note. Every lost attempt (the stage raised, its process or node died, its run
was stopped or killed) is counted in `<store>/attempts/<stage>/<key>.json`. The notes are outside the artifacts'
folders, so one listing finds them all. The count is for people: two runs that lose the same stage at once may count
one attempt.
"""

import json
from contextlib import suppress

from nrf_ray.errors import StoreFailed
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import Store

FOLDER = "attempts"


def note_lost(store: Store, stage: Stage) -> None:
    """Count one more attempt at `stage` that ended without an artifact."""
    name = f"{FOLDER}/{stage.kind.name}/{stage.key}.json"
    with suppress(StoreFailed):  # such as a full disk, which may be why the attempt was lost and is reported already
        store.blobs.replace(name, json.dumps({"lost": _lost(store, name) + 1}).encode() + b"\n")


def lost_attempts(store: Store) -> dict[Key, int]:
    """Return the number of lost attempts of every stage that lost any."""
    names = [blob.name for blob in store.blobs.under(FOLDER)]
    keys = (Key(name.rpartition("/")[2].removesuffix(".json")) for name in names)
    return dict(zip(keys, store.at_once(lambda name: _lost(store, name), names), strict=True))


def _lost(store: Store, name: str) -> int:
    note = store.blobs.get_json(name)
    count = note.get("lost") if note else None
    return count if isinstance(count, int) else 0
