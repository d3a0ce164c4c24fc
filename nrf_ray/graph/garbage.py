"""Garbage: files in a store that no record names.

Runs that were cut off leave whole data files, temporary files and leases behind; damaged artifacts lie in the
quarantine. None of it is ever read as a result. Only files under the store's own layout are looked at.
"""

from nrf_ray.errors import CorruptArtifact
from nrf_ray.graph.blobs import TEMPORARY, Blob
from nrf_ray.graph.store import FAILURE, RECORD, Place, Store


def find(store: Store) -> list[Blob]:
    """Return every file that no record names, by name."""
    blobs = store.blobs.under()
    folders = {f"{place.stage}/{place.key}": place for place in store.places()}
    kept = {name for place in folders.values() for name in _kept(store, place)}
    return [blob for blob in blobs if blob.name not in kept and _is_ours(blob, set(folders))]


def _kept(store: Store, place: Place) -> list[str]:
    """Return the files at `place` that are worth keeping: all, where the record is damaged and nobody can tell."""
    try:
        record = store.peek(place)
    except CorruptArtifact:
        return [blob.name for blob in store.blobs.under(f"{place.stage}/{place.key}")]
    if record is None:
        return [place.file(FAILURE)]  # how a stage failed stays on record until it succeeds
    return [place.file(name) for name in (RECORD, *(entry.name for entry in record.files))]


def _is_ours(blob: Blob, artifacts: set[str]) -> bool:
    """Return whether `blob` lies where the store puts its files, or is one of its temporary files."""
    folder, _, name = blob.name.rpartition("/")
    if name.startswith(TEMPORARY) and (folder == "" or folder.startswith(("attempts/", "sweeps/"))):
        return True
    return folder in artifacts or blob.name.partition("/")[0] in ("drivers", "quarantine")


def collect(store: Store, garbage: list[Blob]) -> None:
    """Delete `garbage`, and the folders of a local store that are empty then."""
    for blob in garbage:
        store.blobs.delete(blob.name)
    root = store.blobs.root
    if root is not None:
        folders = {parent for blob in garbage for parent in (root / blob.name).parents if root in parent.parents}
        for folder in sorted(folders, key=lambda path: len(path.parts), reverse=True):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
