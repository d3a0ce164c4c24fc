"""Checkpoints of a stage that is not finished: how far long work got, so that a kill costs little.

They lie in the artifact's own folder, are named by step and content, and are gone when the stage is committed. One that
is damaged is passed over for the one before it. Two runs of the same stage write the same ones.
"""

from nrf_ray.graph.canonical import digest
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import Store, place_of

PREFIX = "checkpoint-"


def save(store: Store, stage: Stage, step: int, data: bytes) -> None:
    """Keep `data` as the state after `step`, then delete the states before it."""
    former = _names(store, stage)
    entry = store.write(stage, _name(step, data), data)
    for name in former:
        if name < entry.name:
            store.blobs.delete(place_of(stage).file(name))


def latest(store: Store, stage: Stage) -> bytes | None:
    """Return the last state that is whole, or None."""
    for name in reversed(_names(store, stage)):
        data = store.blobs.get(place_of(stage).file(name))
        if data is not None and name.partition("~")[0].rpartition("-")[2] == digest(data):
            return data
    return None


def drop(store: Store, stage: Stage) -> None:
    """Delete all checkpoints of a stage that is committed."""
    for name in _names(store, stage):
        store.blobs.delete(place_of(stage).file(name))


def _name(step: int, data: bytes) -> str:
    return f"{PREFIX}{step:08d}-{digest(data)}"


def _names(store: Store, stage: Stage) -> list[str]:
    names = (blob.name.rpartition("/")[2] for blob in store.blobs.under(place_of(stage).file("")[:-1]))
    return sorted(name for name in names if name.startswith(PREFIX))
