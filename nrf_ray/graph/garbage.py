"""Garbage: files in a store that no record names.

Runs that were cut off leave whole data files, temporary files and leases behind; damaged artifacts lie in the
quarantine. None of it is ever read as a result. Only files under the store's own layout are looked at.
"""

from collections.abc import Collection

from nrf_ray.errors import CorruptArtifact
from nrf_ray.graph import drivers
from nrf_ray.graph.blobs import Blob
from nrf_ray.graph.drivers import Driver, Heart
from nrf_ray.graph.folder import TEMPORARY
from nrf_ray.graph.store import FAILURE, RECORD, Place, Store


def find(store: Store, dead: Collection[str] | None = None) -> list[Blob]:
    """Return every file that no record names, by name.

    Of the files of drivers those count that are among `dead`; left out, those whose process is gone from this machine.
    """
    blobs = store.blobs.under()
    folders = {f"{place.stage}/{place.key}": place for place in store.places()}
    kept = {name for place in folders.values() for name in _kept(store, place)}
    gone = set(drivers.dead_files(store.blobs) if dead is None else dead)
    return [blob for blob in blobs if blob.name not in kept and (blob.name in gone or _is_ours(blob, set(folders)))]


def _kept(store: Store, place: Place) -> list[str]:
    """Return the files at `place` that are worth keeping: all, where the record is damaged and nobody can tell."""
    try:
        record = store.peek(place)
    except CorruptArtifact:
        return [blob.name for blob in store.blobs.under(f"{place.stage}/{place.key}")]
    if record is None:
        return [place.file(FAILURE)]  # how a stage failed stays on record until it succeeds
    return [place.file(name) for name in (RECORD, *(entry.blob for entry in record.files))]


def _is_ours(blob: Blob, artifacts: set[str]) -> bool:
    """Return whether `blob` lies where the store puts its files, or is one of its temporary files."""
    folder, _, name = blob.name.rpartition("/")
    if name.startswith(TEMPORARY) and (folder == "" or folder.startswith(("attempts/", "sweeps/"))):
        return True
    return folder in artifacts or blob.name.startswith("quarantine/")


def collect(store: Store) -> tuple[list[Blob], list[Driver]]:
    """Delete all garbage; return what it was, or nothing and the drivers that are using the store.

    While this is at work it is a driver itself: a run that starts meanwhile waits for its end, and would otherwise take
    over files of an earlier run that are about to be deleted. A run that was killed on another machine shows by its
    counter, which may take `drivers.STALE_SECONDS`. Raises StoreFailed where this process stood still for so long that
    a run took it for dead: then it deletes nothing more.
    """
    with Heart(store.blobs, "gc") as heart:
        busy, dead = drivers.survey(store.blobs, heart)
        garbage = [] if busy else find(store, dead)
        for blob in garbage:
            heart.check_permit()
            store.blobs.delete(blob.name)
        # A run that starts now puts its file among those of the drivers, whatever becomes of the other folders.
        heart.check_permit()
        for folder in sorted({blob.name.rpartition("/")[0] for blob in garbage} - {drivers.FOLDER}, reverse=True):
            store.blobs.remove_empty(folder)
    return garbage, busy
