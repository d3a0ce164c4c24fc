"""Decoded images as arrays on disk, made once and mapped into memory by everyone who reads them.

A prepared set is a folder `<data home>/datasets/<content digest>` of `.npy` files, which any number of processes share
through the page cache, and which may be larger than memory. Its manifest is written last and the folder gets its name
when it is whole. Whoever opens it checks the manifest and the sizes; what does not fit is made again.
"""

import hashlib
import io
import json
import math
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nrf_ray.data.facts import Stamp, stamp_of
from nrf_ray.data.located import Located, Portion
from nrf_ray.data.outline import Batch, check_labels
from nrf_ray.data.places import VARIABLE, data_home
from nrf_ray.data.words import Scaling, WordTable
from nrf_ray.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MANIFEST = "manifest.json"
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
WORDS = ("words", "vectors")
"""Of texts, the table of words: UTF-8 with a line a word, and its vectors."""
TEMPORARY = ".tmp-"
ABANDONED_SECONDS = 86_400.0
"""A temporary folder that was last written to so long ago belongs to a process that died."""


class Prepared(NamedTuple):
    """A prepared set, mapped into memory; writing into an array changes this process's copy only."""

    train_images: "npt.NDArray[np.uint8]"
    """[n, c, h, w]"""
    train_labels: "npt.NDArray[np.int64]"
    """[n]"""
    test_images: "npt.NDArray[np.uint8]"
    """[m, c, h, w]"""
    test_labels: "npt.NDArray[np.int64]"
    """[m]"""
    mean: tuple[float, ...]
    """Per channel of the training pixels, in [0, 1]."""
    std: tuple[float, ...]
    """Per channel of the training pixels, in [0, 1]."""


def prepared(located: Located) -> Prepared:
    """Return the arrays of `located`, which are made first where they are missing or damaged."""
    return _opened(*_whole(located))


def prepared_words(located: Located) -> WordTable:
    """Return the table of words that the texts of `located` were embedded by."""
    import numpy as np

    folder, manifest = _whole(located)
    words, vectors = (np.load(folder / f"{name}.npy", allow_pickle=False) for name in WORDS)
    scaling = Scaling(tuple(manifest["mean"]), tuple(manifest["std"]))
    return WordTable(words=tuple(words.tobytes().decode().split("\n")), vectors=vectors, scaling=scaling)


def _whole(located: Located) -> tuple[Path, dict[str, Any]]:
    """Return folder and manifest of `located`, which is prepared first where it is not whole."""
    folder = data_home() / "datasets" / located.digest
    manifest = _manifest(folder)
    if manifest is None:
        try:
            _prepare(located, folder)
        except OSError as error:
            raise ConfigError(
                f"dataset {located.name.title} cannot be prepared in {folder.parent}: {error.strerror}; make room "
                f"there, or set {VARIABLE} to another folder that you may write to"
            ) from error
        manifest = _manifest(folder)
        if manifest is None:
            raise ConfigError(f"{folder} was written but cannot be read back whole; check the disk under it")
    return folder, manifest


def _opened(folder: Path, manifest: dict[str, Any]) -> Prepared:
    import numpy as np

    # "c" maps copy-on-write: torch wants arrays that can be written to, and nobody may write to the file.
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="c", allow_pickle=False) for name in ARRAYS}
    return Prepared(**arrays, mean=tuple(manifest["mean"]), std=tuple(manifest["std"]))


def _manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a whole prepared set, or None."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
        checksum = manifest.pop("checksum")
        sizes = {name: (folder / f"{name}.npy").stat().st_size for name in {*ARRAYS, *manifest["files"]}}
        whole = checksum == _checksum(manifest) and sizes == {name: f["size"] for name, f in manifest["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return manifest if whole else None


def _checksum(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _prepare(located: Located, folder: Path) -> None:
    """Decode everything into a new folder and give it its name; another process may win, which is as good."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder.parent)
    temporary = folder.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
    temporary.mkdir()
    try:
        before = _stamps(located)
        files, mean, std = _write(located, temporary)
        if _stamps(located) != before:
            raise ConfigError(f"the files of dataset {located.name.title} were changed while they were read; run again")
        manifest = {"dataset": located.name.title, "files": files, "mean": mean, "std": std}
        _write_synced(
            temporary / MANIFEST, json.dumps({**manifest, "checksum": _checksum(manifest)}, indent=1).encode()
        )
        _publish(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _publish(temporary: Path, folder: Path) -> None:
    """Give a whole set its name, unless another process has just done so."""
    if folder.exists() and _manifest(folder) is None:
        damaged = folder.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
        with suppress(FileNotFoundError):  # another process has moved it
            folder.rename(damaged)
        shutil.rmtree(damaged, ignore_errors=True)
    try:
        temporary.rename(folder)
    except OSError:
        if _manifest(folder) is None:
            raise


def _stamps(located: Located) -> list[Stamp]:
    used = [portion.files for portion in (located.train, located.test)]
    return [stamp_of(files.path, files.format.files(files.path)) for files in used]


def _write(located: Located, folder: Path) -> tuple[dict[str, Any], list[float], list[float]]:
    """Write the arrays; return size and sha256 of each file, and mean and std of the training pixels."""
    files: dict[str, Any] = {}
    table = _write_words(located, folder, files) if located.kind == "texts" else None
    levels = _write_split(located, located.train, folder, "train", files, table)
    _write_split(located, located.test, folder, "test", files, table)
    if table is not None:
        return files, list(table.scaling.mean), list(table.scaling.std)
    known = located.train.files.format.normalisation
    mean, std = known or _mean_and_std(levels)
    if 0.0 in std:
        raise ConfigError(
            f"dataset {located.name.title} has a channel whose training pixels are all equal: there is nothing to learn"
        )
    return files, list(mean), list(std)


def _write_words(located: Located, folder: Path, files: dict[str, Any]) -> WordTable:
    """Write the table of words, learnt from the training texts, and return it."""
    import numpy as np

    portion = located.train
    embedding = portion.files.format.embedding
    assert embedding is not None, "texts have an embedding"
    batches = portion.files.format.read(portion.files.path, portion.split, portion.rows())
    table = embedding.learn([embedding.tokenise(text) for batch in batches for text in batch.images])
    arrays = (np.frombuffer("\n".join(table.words).encode(), np.uint8), table.vectors)
    for name, array in zip(WORDS, arrays, strict=True):
        with _ArrayFile(folder / f"{name}.npy", "|u1", array.shape) as out:
            out.write(array.tobytes())
        files[name] = out.entry
    return table


def _batches(located: Located, portion: Portion, table: WordTable | None) -> Iterator[Batch]:
    """Yield the rows of one split as images; texts are embedded by `table`."""
    for batch in portion.files.format.read(portion.files.path, portion.split, portion.rows()):
        embedding = located.train.files.format.embedding
        if table is None or embedding is None:
            yield batch
        else:
            tokenised = [embedding.tokenise(text) for text in batch.images]
            yield Batch(table.embed(tokenised, located.shape[1]), batch.labels)


def _write_split(
    located: Located, portion: Portion, folder: Path, split: str, files: dict[str, Any], table: WordTable | None
) -> "npt.NDArray[np.int64]":
    """Write images and labels of one split as they are read; return how often each channel has each level."""
    import numpy as np

    rows, shape = portion.rows(), located.shape
    levels = np.zeros((shape[0], 256), dtype=np.int64)
    labels = [np.zeros(0, dtype=np.int64)]
    with _ArrayFile(folder / f"{split}_images.npy", "|u1", (len(rows), *shape)) as out:
        for batch in _batches(located, portion, table):
            if batch.images.shape[1:] != shape or batch.images.dtype != np.uint8:
                raise ConfigError(
                    f"dataset {located.name.title} has images of shape {batch.images.shape[1:]} and {shape}"
                )
            out.write(np.ascontiguousarray(batch.images).tobytes())
            labels.append(batch.labels)
            for channel in range(shape[0]):
                levels[channel] += np.bincount(batch.images[:, channel].ravel(), minlength=256)
    together = np.concatenate(labels)
    if len(together) != len(rows):
        raise ConfigError(
            f"dataset {located.name.title} has {len(together)} {split} rows where {len(rows)} were expected"
        )
    check_labels(together.tolist(), located.num_classes, portion.files.path)
    with _ArrayFile(folder / f"{split}_labels.npy", "<i8", (len(rows),)) as names:
        names.write(together.astype("<i8").tobytes())
    files[f"{split}_images"], files[f"{split}_labels"] = out.entry, names.entry
    return levels


class _ArrayFile:
    """An `.npy` file that is written in pieces: a full disk is an error then, and not the end of the process."""

    def __init__(self, path: Path, dtype: str, shape: tuple[int, ...]) -> None:
        from numpy.lib import format as npy

        self._file = path.open("xb")
        self._sha256 = hashlib.sha256()
        header = io.BytesIO()
        npy.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
        self.write(header.getvalue())

    def __enter__(self) -> "_ArrayFile":
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


def _mean_and_std(levels: "npt.NDArray[np.int64]") -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std per channel from the counts of levels [c, 256]: exact sums, so the same in any order."""
    means, stds = [], []
    for counts in levels.tolist():
        n = sum(counts)
        if n == 0:  # no training split: nothing is normalised by it
            return (), ()
        first = sum(level * count for level, count in enumerate(counts)) / n
        second = sum(level * level * count for level, count in enumerate(counts)) / n
        means.append(first / 255)
        stds.append(math.sqrt(max(0.0, second - first * first)) / 255)
    return tuple(means), tuple(stds)


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
