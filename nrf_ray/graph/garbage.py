"""Garbage: files in a store that no record names.

Interrupted runs leave whole data files, temporary files and leases behind; records of damaged artifacts are in the
quarantine. None of these is ever read as a result. Only files within the store's own layout are considered.
"""

from collections.abc import Callable, Collection, Iterable

from nrf_ray.errors import CorruptArtifact
from nrf_ray.graph import drivers
from nrf_ray.graph.blobs import Blob
from nrf_ray.graph.drivers import Driver, Heart
from nrf_ray.graph.folder import TEMPORARY
from nrf_ray.graph.store import FAILURE, RECORD, Place, Store


def find(store: Store, dead: Collection[str] | None = None) -> list[Blob]:
    """Return every file that no record names, by name.

    A driver's file is garbage if it is in `dead`. If `dead` is None, it is garbage if it is damaged or that driver's
    process on this machine is gone.
    """
    blobs = store.blobs.under()
    folders = {f"{place.stage}/{place.key}": place for place in store.places()}
    kept = {name for place in folders.values() for name in _kept(store, place)}
    gone = set(drivers.dead_files(store.blobs) if dead is None else dead)
    return [blob for blob in blobs if blob.name not in kept and (blob.name in gone or _is_ours(blob, set(folders)))]


def _kept(store: Store, place: Place) -> list[str]:
    """Return the files at `place` that are not garbage: all, if the record is damaged and does not tell."""
    try:
        record = store.peek(place)
    except CorruptArtifact:
        return [blob.name for blob in store.blobs.under(f"{place.stage}/{place.key}")]
    if record is None:
        return [place.file(FAILURE)]  # the note of a failure is kept until the stage succeeds
    return [place.file(name) for name in (RECORD, *(entry.blob for entry in record.files))]


def _is_ours(blob: Blob, artifacts: set[str]) -> bool:
    """Return whether `blob` is where the store puts its files, or is one of its temporary files."""
    folder, _, name = blob.name.rpartition("/")
    if name.startswith(TEMPORARY) and (
        folder == "" or folder.startswith(("attempts/", "datasets/", "plugins", "sweeps/"))
    ):
        return True
    return folder in artifacts or blob.name.startswith("quarantine/")


def collect(store: Store, unwanted: Callable[[], Iterable[Place]] = list) -> tuple[list[Blob], list[Driver]]:
    """Delete all garbage and return it; if drivers use the store, delete nothing and return these drivers.

    `unwanted` returns artifacts to delete as well; it is called when no run can begin any more. Their records go first:
    whatever happens then, no record names a file that is gone.

    During the collection this process is a driver itself: a run that starts in the meantime waits for its end. If it
    did not wait, it would take over files of an earlier run that are about to be deleted. A run that was killed on
    another machine is recognised by its counter, which may take `drivers.STALE_SECONDS`. Raises StoreFailed if this
    process was suspended for so long that a run took it for dead; then it deletes nothing more.
    """
    with Heart(store.blobs, "gc") as heart:
        busy, dead = drivers.survey(store.blobs, heart)
        for place in () if busy else unwanted():
            heart.check_permit()
            store.blobs.delete(place.file(RECORD))
        garbage = [] if busy else find(store, dead)
        for blob in garbage:
            heart.check_permit()
            store.blobs.delete(blob.name)
        # A run that starts now writes into the drivers' folder, so that folder stays, whatever happens to the others.
        heart.check_permit()
        for folder in sorted({blob.name.rpartition("/")[0] for blob in garbage} - {drivers.FOLDER}, reverse=True):
            store.blobs.remove_empty(folder)
    return garbage, busy
