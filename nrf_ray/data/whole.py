"""Folders of `.npy` arrays that are complete or absent, even if several processes make them at once.

Arrays are written in pieces into a temporary folder, the manifest last; the complete folder is then renamed. A process
that finishes second deletes its own copy. A reader checks the manifest and the sizes and maps the arrays into memory,
so a set may be larger than memory and all processes share it through the page cache.
"""

import hashlib
import io
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nrf_ray.data.places import VARIABLE
from nrf_ray.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Facts = dict[str, Any]
"""Content of a manifest: under "files", size and sha256 of each array; other keys come from `write`."""

MANIFEST = "manifest.json"
TEMPORARY = ".tmp-"
ABANDONED_SECONDS = 86_400.0
"""Age (time since the last write) from which a temporary folder counts as left by a process that died."""


def whole(folder: Path, names: Iterable[str], write: Callable[[Path], Facts], *, what: str) -> Facts:
    """Return the manifest of `folder`, which `write` fills first if it is missing or damaged.

    `names` are the arrays that must be in the folder. `write` gets an empty folder and returns the manifest.

    Raises:
        ConfigError: the folder cannot be written or read back; the message calls its content `what`.
    """
    manifest = read_manifest(folder, names)
    if manifest is None:
        try:
            _make(folder, names, write)
        except OSError as error:
            raise ConfigError(
                f"{what} cannot be prepared in {folder.parent}: {error.strerror}; free space there, or set {VARIABLE} "
                "to another folder that you may write to"
            ) from error
        manifest = read_manifest(folder, names)
        if manifest is None:
            raise ConfigError(f"{folder} was written but cannot be read back completely; check its disk")
    return manifest


def read_manifest(folder: Path, names: Iterable[str]) -> Facts | None:
    """Return the manifest of `folder`, or None if the folder is missing, incomplete or damaged."""
    try:
        manifest: Facts = json.loads((folder / MANIFEST).read_bytes())
        checksum = manifest.pop("checksum")
        sizes = {name: (folder / f"{name}.npy").stat().st_size for name in {*names, *manifest["files"]}}
        is_whole = checksum == _checksum(manifest) and sizes == {
            name: file["size"] for name, file in manifest["files"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return manifest if is_whole else None


def mapped(folder: Path, name: str) -> "npt.NDArray[Any]":
    """Return an array of a complete folder, mapped; writing into it changes only this process's copy."""
    import numpy as np

    # "c" maps copy-on-write: torch needs writable arrays, and the file must not change.
    array: npt.NDArray[Any] = np.load(folder / f"{name}.npy", mmap_mode="c", allow_pickle=False)
    return array


class ArrayFile:
    """An `.npy` file that is written in pieces, so that a full disk raises an error instead of killing the process."""

    def __init__(self, folder: Path, name: str, dtype: "np.dtype[Any] | str", shape: tuple[int, ...]) -> None:
        import numpy as np
        from numpy.lib import format as npy

        self._file = (folder / f"{name}.npy").open("xb")
        self._sha256 = hashlib.sha256()
        header = io.BytesIO()
        npy.write_array_header_1_0(header, {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape})
        self.write(header.getvalue())

    def __enter__(self) -> "ArrayFile":
        return self

    def write(self, data: bytes) -> None:
        """Append `data`."""
        self._file.write(data)
        self._sha256.update(data)

    def __exit__(self, *_: object) -> None:
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())
            self.entry = {"size": self._file.tell(), "sha256": self._sha256.hexdigest()}


def _make(folder: Path, names: Iterable[str], write: Callable[[Path], Facts]) -> None:
    """Fill a new folder and rename it to `folder`, unless another process does so first."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder.parent)
    temporary = folder.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
    temporary.mkdir()
    try:
        manifest = write(temporary)
        text = json.dumps({**manifest, "checksum": _checksum(manifest)}, indent=1)
        _write_synced(temporary / MANIFEST, text.encode())
        _publish(temporary, folder, names)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _publish(temporary: Path, folder: Path, names: Iterable[str]) -> None:
    """Rename a complete folder to its final name, unless another process has just done so."""
    if folder.exists() and read_manifest(folder, names) is None:
        damaged = folder.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
        with suppress(FileNotFoundError):  # another process has moved it
            folder.rename(damaged)
        shutil.rmtree(damaged, ignore_errors=True)
    try:
        temporary.rename(folder)
    except OSError:
        if read_manifest(folder, names) is None:
            raise


def _checksum(manifest: Facts) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _remove_abandoned(folder: Path) -> None:
    for temporary in folder.glob(f"{TEMPORARY}*"):
        with suppress(OSError):
            if time.time() - temporary.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(temporary, ignore_errors=True)
