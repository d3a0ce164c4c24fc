"""Garbage: files in a store that no record names.

Runs that were cut off leave whole data files, temporary files and leases behind; damaged artifacts lie in the
quarantine. None of it is ever read as a result. Only files under the store's own layout are looked at.
"""

from nrf_ray.errors import CorruptArtifact
from nrf_ray.graph.blobs import TEMPORARY, Blob
from nrf_ray.graph.store import FAILURE, RECORD, Store


def find(store: Store) -> list[Blob]:
    """Return every file that no record names, by name."""
    named: set[str] = set()
    folders: list[str] = ["drivers", "quarantine"]
    for place in store.places():
        folders.append(f"{place.stage}/{place.key}")
        try:
            record = store.peek(place)
        except CorruptArtifact:
            named.update(blob.name for blob in store.blobs.under(folders[-1]))
            continue
        if record is None:
            named.add(place.file(FAILURE))  # how a stage failed stays on record until it succeeds
        else:
            named.update(place.file(name) for name in (RECORD, *(entry.name for entry in record.files)))
    garbage = [blob for folder in folders for blob in store.blobs.under(folder) if blob.name not in named]
    return sorted({*garbage, *(blob for blob in store.blobs.under() if _is_cut_off(blob))})


def _is_cut_off(blob: Blob) -> bool:
    """Return whether `blob` is a temporary file of ours: at the root, or under the tables."""
    folder, _, name = blob.name.rpartition("/")
    return name.startswith(TEMPORARY) and (folder == "" or folder.startswith("sweeps/"))


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
