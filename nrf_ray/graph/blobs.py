"""Bytes under names: the one protocol for a local folder and for an object store.

`put_new` is the operation that everything rests on: it writes a blob that did not exist, whole or not at all, and of
several writers of one name exactly one wins. Object stores have it (conditional put, through obstore). On a local disk
it is a temporary file, fsynced and then hard-linked to its name, so that what has the name survives a power cut.
"""

import errno
import json
import os
import uuid
from pathlib import Path
from typing import Any, NamedTuple

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, MemoryStore, ObjectStore, from_url

from nrf_ray.errors import StoreError

TEMPORARY = ".tmp-"
"""How the names of unfinished local files begin."""


class Blob(NamedTuple):
    """Name and size of one blob."""

    name: str
    size: int


class Blobs:
    """A flat space of names (with slashes) and bytes, at a local folder or at a URI that obstore knows."""

    def __init__(self, uri: str, *, create: bool) -> None:
        """Open the blobs at `uri`. With `create` a local folder is made; without, a missing one reads as empty."""
        self.uri = uri
        self.root = local_root(uri)
        if self.root is not None and self.root.exists() and not self.root.is_dir():
            raise StoreError(f"the store {uri} is a file; choose a folder with --store")
        if self.root is not None and create:
            _make_folder(self.root)
        try:
            self._store = _open(uri, self.root)
        except (BaseError, ValueError) as error:
            raise StoreError(f"no store can be opened at {uri}: {str(error).splitlines()[0]}") from error

    def get(self, name: str) -> bytes | None:
        """Return the bytes under `name`, or None where there are none."""
        try:
            return bytes(obstore.get(self._store, name).bytes())
        except FileNotFoundError:
            return None

    def get_json(self, name: str) -> dict[str, Any] | None:
        """Return the JSON object under `name`, or None where there is none or a damaged one: for notes, not records."""
        try:
            value = json.loads(self.get(name) or b"null")
        except ValueError:
            return None
        return value if isinstance(value, dict) else None

    def exists(self, name: str) -> bool:
        """Return whether there is a blob under `name`."""
        try:
            obstore.head(self._store, name)
        except FileNotFoundError:
            return False
        return True

    def put_new(self, name: str, data: bytes) -> bool:
        """Write a blob that does not exist yet; return False, and change nothing, where it does."""
        if self.root:
            return self._put_durably(name, data, replace=False)
        try:
            obstore.put(self._store, name, data, mode="create")
        except AlreadyExistsError:
            return False
        return True

    def replace(self, name: str, data: bytes) -> None:
        """Write a blob, whole or not at all, over any that is there."""
        if self.root:
            self._put_durably(name, data, replace=True)
        else:
            obstore.put(self._store, name, data, mode="overwrite")

    def move(self, source: str, target: str) -> None:
        """Rename a blob; nothing happens where `source` is gone."""
        try:
            obstore.rename(self._store, source, target)
        except FileNotFoundError:
            return

    def delete(self, name: str) -> None:
        """Remove a blob; nothing happens where it is gone."""
        try:
            obstore.delete(self._store, name)
        except FileNotFoundError:
            return

    def under(self, prefix: str = "") -> list[Blob]:
        """Return all blobs below the folder `prefix`, by name."""
        found = [b for batch in obstore.list(self._store, prefix or None) for b in batch]
        return sorted(Blob(b["path"], b["size"]) for b in found)

    def folders(self, prefix: str = "") -> list[str]:
        """Return the names of the folders right below the folder `prefix`."""
        listing = obstore.list_with_delimiter(self._store, prefix or None)
        return sorted(path.rpartition("/")[2] for path in listing["common_prefixes"])

    def _put_durably(self, name: str, data: bytes, *, replace: bool) -> bool:
        assert self.root is not None
        target = self.root / name
        temporary = target.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
        try:
            _make_durable_folder(target.parent)
            try:
                _write_synced(temporary, data)
                return _publish(temporary, target, replace)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(_explain(error, target)) from error


def local_root(uri: str) -> Path | None:
    """Return the folder that `uri` means, or None where it means an object store."""
    scheme, separator, rest = uri.partition("://")
    return None if separator and scheme != "file" else Path(rest if separator else uri).absolute()


def _open(uri: str, root: Path | None) -> ObjectStore:
    if root is None:
        return from_url(uri)
    return LocalStore(root) if root.is_dir() else MemoryStore()


def _make_folder(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"the store {root} cannot be made: {error.strerror}; choose another --store") from error
    if not os.access(root, os.W_OK | os.X_OK):
        raise StoreError(f"the store {root} is not writable; choose another --store")


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _publish(temporary: Path, target: Path, replace: bool) -> bool:
    """Give the finished temporary file its name, and make the name itself durable."""
    try:
        if replace:
            temporary.replace(target)
        else:
            os.link(temporary, target)
    except FileExistsError:
        return False
    _sync_folder(target.parent)
    return True


def _make_durable_folder(folder: Path) -> None:
    """Make `folder` and what is above it, and make the names of those that were missing durable."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        _sync_folder(new.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_REMEDIES: dict[int | None, str] = {
    errno.ENOSPC: "free some space, then run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space, then run the same command again",
    errno.EROFS: "the file system is read-only; choose another --store",
    errno.EACCES: "you may not write there; choose another --store",
    errno.EMFILE: "too many open files; raise the limit (ulimit -n), then run the same command again",
}


def _explain(error: OSError, target: Path) -> str:
    remedy = _REMEDIES.get(error.errno, "see to it, then run the same command again")
    return f"cannot write {target}: {error.strerror}; {remedy}"
