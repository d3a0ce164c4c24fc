"""Checkpoints of an unfinished stage: saved states of long work, so that a kill costs little.

They are in the artifact's own folder, are named by step and content, and are deleted when the stage is committed. If
the latest checkpoint is damaged, the one before it is used. Two runs of the same stage write the same checkpoints.
"""

from nrf_ray.graph.canonical import digest
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import Store, place_of

PREFIX = "checkpoint-"


def save(store: Store, stage: Stage, step: int, data: bytes) -> None:
    """Save `data` as the checkpoint after `step`, then delete earlier checkpoints."""
    former = _names(store, stage)
    entry = store.write(stage, _name(step, data), data)
    for name in former:
        if name < entry.name:
            store.blobs.delete(place_of(stage).file(name))


def latest(store: Store, stage: Stage) -> bytes | None:
    """Return the last checkpoint that is not damaged, or None if there is none."""
    for name in reversed(_names(store, stage)):
        data = store.blobs.get(place_of(stage).file(name))
        if data is not None and name.partition("~")[0].rpartition("-")[2] == digest(data):
            return data
    return None


def drop(store: Store, stage: Stage) -> None:
    """Delete all checkpoints of a committed stage."""
    for name in _names(store, stage):
        store.blobs.delete(place_of(stage).file(name))


def _name(step: int, data: bytes) -> str:
    return f"{PREFIX}{step:08d}-{digest(data)}"


def _names(store: Store, stage: Stage) -> list[str]:
    names = (blob.name.rpartition("/")[2] for blob in store.blobs.under(place_of(stage).file("")[:-1]))
    return sorted(name for name in names if name.startswith(PREFIX))
