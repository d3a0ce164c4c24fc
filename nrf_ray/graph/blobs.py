"""Bytes under names: the one protocol for a local folder and for an object store.

`put_new` is the operation that everything rests on: it writes a blob that did not exist, whole or not at all, and of
several writers of one name exactly one wins. A name is a relative path with slashes that leads nowhere else, which is
checked here, for both.
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
        """Open the blobs at `uri`. With `create` a local folder is made; without, a missing one reads as empty."""
        self.uri = uri
        self.root = local_root(uri)
        self._medium = Bucket(uri) if self.root is None else Folder(self.root, create=create)

    def get(self, name: str) -> bytes | None:
        """Return the bytes under `name`, or None where there are none."""
        return self._medium.get(_checked(name))

    def get_json(self, name: str) -> dict[str, Any] | None:
        """Return the JSON object under `name`, or None where there is none or a damaged one: for notes, not records."""
        try:
            value = json.loads(self.get(name) or b"null")
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    def exists(self, name: str) -> bool:
        """Return whether there is a blob under `name`."""
        return self._medium.exists(_checked(name))

    def put_new(self, name: str, data: bytes) -> bool:
        """Write a blob that does not exist yet; return False, and change nothing, where it does."""
        return self._medium.put_new(_checked(name), data)

    def replace(self, name: str, data: bytes) -> None:
        """Write a blob, whole or not at all, over any that is there."""
        self._medium.replace(_checked(name), data)

    def move(self, source: str, target: str) -> None:
        """Rename a blob; nothing happens where `source` is gone."""
        self._medium.move(_checked(source), _checked(target))

    def delete(self, name: str) -> None:
        """Remove a blob; nothing happens where it is gone."""
        self._medium.delete(_checked(name))

    def under(self, prefix: str = "") -> list[Blob]:
        """Return all blobs below the folder `prefix`, by name."""
        return sorted(Blob(name, size) for name, size in self._medium.under(prefix and _checked(prefix)))

    def any(self) -> bool:
        """Return whether there is anything at all, without listing it."""
        return self._medium.any()

    def folders(self, prefix: str = "") -> list[str]:
        """Return the names of the folders right below the folder `prefix`."""
        return sorted(self._medium.folders(prefix and _checked(prefix)))

    def remove_empty(self, folder: str) -> None:
        """Remove `folder` and those above it, as far as they are empty, where the medium has folders."""
        self._medium.remove_empty(folder and _checked(folder))


def local_root(uri: str) -> Path | None:
    """Return the absolute path of the folder that `uri` means, or None where it means an object store."""
    folder = folder_named(uri)
    return None if folder is None else folder.absolute()


def _checked(name: str) -> str:
    """Return `name`, or raise StoreError where it is no plain relative path: with empty parts, dots, a zero byte."""
    if "\0" in name or not {"", ".", ".."}.isdisjoint(name.split("/")):
        raise StoreError(f"{name!r} is no name of a file in a store; names are plain relative paths")
    return name
