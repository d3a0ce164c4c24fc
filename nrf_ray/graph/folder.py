"""Blobs in a local folder: durable, whole or not at all, and never outside the folder.

obstore's local store lacks two things. A blob here is a temporary file, fsynced and then hard-linked to its name, so
that a file with its final name survives a power cut. And no link inside the folder is followed, so that nothing outside
is ever read, written, moved or deleted.
"""

import errno
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nrf_ray.errors import StoreError, StoreFailed

TEMPORARY = ".tmp-"
"""Prefix of the names of unfinished files."""

GONE = (FileNotFoundError, NotADirectoryError)
"""Errors of the system for a file that does not exist."""


class Folder:
    """Named blobs in a folder; a missing folder reads as empty."""

    def __init__(self, root: Path, *, create: bool) -> None:
        """Open the folder `root`; with `create`, make it."""
        self.root = root
        if root.exists() and not root.is_dir():
            raise StoreError(f"the store {root} is a file; choose a folder with --store")
        if create:
            _make(root)

    def get(self, name: str) -> bytes | None:
        """Return the bytes under `name`, or None if there is no such file."""
        path = self._path(name)
        with _explained("read", path):
            try:
                # If the file is a pipe or a device, opening it may wait for ever and reading it may never end.
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except GONE:
                return None
            with os.fdopen(descriptor, "rb", closefd=True) as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise StoreError(f"{path} is not a regular file; remove it, or choose another --store")
                return file.read()

    def exists(self, name: str) -> bool:
        """Return whether there is a file under `name`."""
        path = self._path(name)
        with _explained("read", path):
            try:
                return stat.S_ISREG(os.lstat(path).st_mode)
            except GONE:
                return False

    def put_new(self, name: str, data: bytes) -> bool:
        """Write a file that does not exist yet; if it exists, change nothing and return False."""
        return self._put(name, data, replace=False)

    def replace(self, name: str, data: bytes) -> None:
        """Write a file, replacing any existing file of this name."""
        self._put(name, data, replace=True)

    def move(self, source: str, target: str) -> None:
        """Rename a file; do nothing if `source` is gone."""
        old, new = self._path(source), self._path(target)
        with _explained("move", old):
            if self.exists(source):
                _make_durable(new.parent)
                try:
                    old.rename(new)
                except GONE:
                    return  # another process was faster
                _sync(new.parent)

    def delete(self, name: str) -> None:
        """Remove a file; do nothing if it is gone."""
        path = self._path(name)
        with _explained("remove", path):
            try:
                path.unlink()
            except GONE:
                return

    def under(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield name and size of every file below the folder `prefix`, in no order; skip links and their targets."""
        todo = [(prefix, self._folder(prefix))]
        while todo:
            folder, path = todo.pop()
            for entry in _listed(path):
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    todo.append((name, entry.path))
                elif entry.is_file(follow_symlinks=False):
                    try:
                        yield name, entry.stat(follow_symlinks=False).st_size
                    except FileNotFoundError:
                        continue  # deleted since it was listed

    def any(self) -> bool:
        """Return whether the folder contains anything except temporary files of interrupted writes."""
        return any(not entry.name.startswith(TEMPORARY) for entry in self._entries(""))

    def folders(self, prefix: str) -> list[str]:
        """Return the names of the folders directly below the folder `prefix`."""
        return [entry.name for entry in self._entries(prefix) if entry.is_dir(follow_symlinks=False)]

    def remove_empty(self, name: str) -> None:
        """Remove the folder `name` and the folders above it, as long as they are empty."""
        while name:
            try:
                os.rmdir(self._path(name))
            except OSError:
                return
            name = name.rpartition("/")[0]

    def _entries(self, folder: str) -> list["os.DirEntry[str]"]:
        return _listed(self._folder(folder))

    def _folder(self, name: str) -> str:
        """Return the path of the folder `name`, or raise StoreError if it or a folder on the way to it is a link."""
        return str(self._path(f"{name}/.")) if name else str(self.root)

    def _path(self, name: str) -> Path:
        """Return the path of the file `name`, or raise StoreError if a folder on the way to it is a link."""
        way = str(self.root)
        for part in name.split("/")[:-1]:
            way = f"{way}/{part}"
            if os.path.islink(way):
                raise StoreError(
                    f"{way} is a link, and a store's folders must not lead out of it; put the folder itself there "
                    "(the whole store may be a link)"
                )
        return self.root / name

    def _put(self, name: str, data: bytes, *, replace: bool) -> bool:
        target = self._path(name)
        temporary = target.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
        with _explained("write", target):
            _make_durable(target.parent)
            try:
                _write_synced(temporary, data)
                return _publish(temporary, target, replace)
            finally:
                temporary.unlink(missing_ok=True)


def check_medium(root: Path) -> None:
    """Raise StoreError if the file system under `root`, which need not exist yet, has no hard links or no fsync.

    Leaves nothing behind. Does not refuse a folder that is not writable: opening the store does.
    """
    place = next(folder for folder in (root, *root.parents) if folder.is_dir())
    file, link = (place / f"{TEMPORARY}{uuid.uuid4().hex}" for _ in range(2))
    try:
        file.touch(exist_ok=False)
    except OSError:
        return
    lacking = "hard links"
    try:
        os.link(file, link)
        lacking = "fsync"
        _sync(file)
        _sync(place)
    except OSError as error:
        raise StoreError(
            f"the file system of {place} has no {lacking} ({error.strerror}), which a store needs; choose a --store "
            "on another file system (ext4, xfs, APFS and NFS have both), or a bucket such as s3://bucket/runs"
        ) from error
    finally:
        link.unlink(missing_ok=True)
        file.unlink(missing_ok=True)


def _listed(path: str) -> list["os.DirEntry[str]"]:
    """Return the entries of a folder; none if it is gone."""
    with _explained("list", path):
        try:
            with os.scandir(path) as entries:
                return list(entries)
        except GONE:
            return []


def _make(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"the store {root} cannot be created: {error.strerror}; choose another --store") from error
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
    _sync(target.parent)
    return True


def _make_durable(folder: Path) -> None:
    """Make `folder` and the folders above it, and make the names of the new folders durable."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        _sync(new.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_REMEDIES: dict[int | None, str] = {
    errno.ENOSPC: "free some space, then run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space, then run the same command again",
    errno.EFBIG: "the limit on file size is reached (ulimit -f); raise it, then run the same command again",
    errno.EROFS: "the file system is read-only; choose another --store",
    errno.EACCES: "you do not have permission; choose another --store",
    errno.EPERM: "you do not have permission; choose another --store",
    errno.EMFILE: "too many open files; raise the limit (ulimit -n), then run the same command again",
    errno.ENFILE: "too many open files on this machine; close some, then run the same command again",
    errno.EIO: "the disk reports an I/O error; check it, then run the same command again",
    errno.ELOOP: "it is a link, and a store does not follow links; remove it, or choose another --store",
}


@contextmanager
def _explained(verb: str, path: Path | str) -> Iterator[None]:
    """Turn an OSError into an error that names the file and the remedy."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno, "fix the cause, then run the same command again")
        raise StoreFailed(f"cannot {verb} {path}: {error.strerror}; {remedy}") from error
