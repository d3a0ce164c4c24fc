"""Blobs: bytes under names, with one interface for a local folder and for an object store.

Everything relies on `put_new`: it writes a blob that did not exist, completely or not at all, and if several writers
use one name, exactly one succeeds. A name is a relative path with slashes that cannot lead out of the store; this
module checks that for both kinds of store.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from nrf_ray.errors import StoreError
from nrf_ray.graph.bucket import Bucket
from nrf_ray.graph.folder import Folder
from nrf_ray.graph.uri import folder_named


class Blob(NamedTuple):
    """Name and size of one blob."""

    name: str
    size: int


class Blobs:
    """A flat space of names (with slashes) and bytes, at a local folder or at the URI of an object store."""

    def __init__(self, uri: str, *, create: bool) -> None:
        """Open the blobs at `uri`. A missing local folder is made if `create` is true; otherwise it reads as empty."""
        self.uri = uri
        self.root = local_root(uri)
        self._medium = Bucket(uri) if self.root is None else Folder(self.root, create=create)

    def get(self, name: str) -> bytes | None:
        """Return the bytes under `name`, or None if there are none."""
        return self._medium.get(_checked(name))

    def get_json(self, name: str) -> dict[str, Any] | None:
        """Return the JSON object under `name`, or None if it is missing or damaged. For notes, not for records."""
        try:
            value = json.loads(self.get(name) or b"null")
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    def exists(self, name: str) -> bool:
        """Return whether there is a blob under `name`."""
        return self._medium.exists(_checked(name))

    def put_new(self, name: str, data: bytes) -> bool:
        """Write a blob and return True; if it exists already, change nothing and return False."""
        return self._medium.put_new(_checked(name), data)

    def replace(self, name: str, data: bytes) -> None:
        """Write a blob, completely or not at all; replace an existing one."""
        self._medium.replace(_checked(name), data)

    def update(self, name: str, data: bytes) -> bool:
        """Replace a blob if it has other bytes or does not exist; return whether it was replaced."""
        if self.get(name) == data:
            return False
        self.replace(name, data)
        return True

    def move(self, source: str, target: str) -> None:
        """Rename a blob; do nothing if `source` does not exist."""
        self._medium.move(_checked(source), _checked(target))

    def delete(self, name: str) -> None:
        """Delete a blob; do nothing if it does not exist."""
        self._medium.delete(_checked(name))

    def under(self, prefix: str = "") -> list[Blob]:
        """Return all blobs below the folder `prefix`, sorted by name."""
        return sorted(Blob(name, size) for name, size in self._medium.under(prefix and _checked(prefix)))

    def any(self) -> bool:
        """Return whether there is any blob, without listing all of them."""
        return self._medium.any()

    def folders(self, prefix: str = "") -> list[str]:
        """Return the names of the folders directly below the folder `prefix`."""
        return sorted(self._medium.folders(prefix and _checked(prefix)))

    def remove_empty(self, folder: str) -> None:
        """Remove `folder` and the folders above it as far as they are empty; do nothing in an object store."""
        self._medium.remove_empty(folder and _checked(folder))


def local_root(uri: str) -> Path | None:
    """Return the absolute path of the folder that `uri` names, or None if `uri` names an object store."""
    folder = folder_named(uri)
    return None if folder is None else folder.absolute()


def _checked(name: str) -> str:
    """Return `name`; raise StoreError if it has parts that are empty, `.` or `..`, or a zero byte."""
    if "\0" in name or not {"", ".", ".."}.isdisjoint(name.split("/")):
        raise StoreError(f"{name!r} is not a file name in a store; use a relative path without empty parts, . or ..")
    return name
