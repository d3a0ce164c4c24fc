"""File metadata that is remembered between runs: a digest of the files' bytes, and their outline.

The digest is over bytes and not over decoded pixels, because a plan needs the digest: reading 100 MB takes a tenth of a
second, decoding 60,000 images takes ten seconds. The price is that the same pixels in another container are another
dataset.

Both are remembered in `<data home>/facts` under the files' paths, sizes and times, so they are computed once. They are
not remembered for files written within the last two seconds: another change so soon might not change path, size or
time. That some of the pictures cannot be used is remembered too, so that large sets are not read again to say so.
"""

import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from nrf_ray.data.naming import Files
from nrf_ray.data.outline import Outline
from nrf_ray.data.places import data_home
from nrf_ray.data.readers.pictures import UnusablePictures
from nrf_ray.errors import ConfigError

SETTLED_SECONDS = 2.0

Stamp = tuple[tuple[str, int, int, int], ...]
"""Name within the set, size, mtime and ctime (ns) of every file."""


class Facts(NamedTuple):
    """Metadata of some files that planning needs."""

    digest: str
    """sha256 over the names within the set and the bytes of every file."""
    outline: Outline
    """Shape, classes and sizes of the set."""
    files: int
    """Number of files."""


RULES = 6
"""Version of the readers' checks: files that an older version accepted are checked again, and keep their digest."""

_remembered: dict[str, Facts | str] = {}


def facts_of(files: Files, *, whole: bool = False) -> Facts:
    """Return the facts of `files`; with `whole`, another set is used for testing, so all training rows are known.

    Raises ConfigError if the files cannot be read in their format.
    """
    outline = (files.format.outline_whole if whole else None) or files.format.outline
    try:
        paths = files.format.files(files.path)
        stamp = stamp_of(files.path, paths)
        embedding = files.format.embedding
        other = [*([embedding.identity] if embedding else []), *(["whole"] if outline != files.format.outline else [])]
        other += [files.plugin] if files.plugin else []
        about = json.dumps([RULES, files.location, files.format.version, stamp, *other])
        key = hashlib.sha256(about.encode()).hexdigest()
        found = _remembered.get(key) or _read(key)
        if found is None:
            try:
                found = Facts(_digest(files.path, paths), outline(files.path), len(paths))
            except UnusablePictures as error:
                found = str(error)
            _write(key, found, stamp)
    except OSError as error:
        raise ConfigError(f"dataset {files.location} cannot be read: {error.strerror}: {error.filename}") from error
    if isinstance(found, str):
        raise UnusablePictures(found)
    return found


def stamp_of(root: Path, paths: Sequence[Path]) -> Stamp:
    """Return the stamp of the files at `paths`, which changes if any of the files is changed."""
    found = [(_within(root, path), path.stat()) for path in paths]
    return tuple((name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for name, stat in found)


def noted(key: str, make: Callable[[], list[int]]) -> list[int]:
    """Return the numbers that `make` computes from the content named by `key`; they are remembered for ever."""
    numbers = known_numbers(key)
    if numbers is None:
        numbers = make()
        _put(_numbers(key), json.dumps(numbers))
    return numbers


def known_numbers(key: str) -> list[int] | None:
    """Return the numbers that `noted` remembers for `key`, or None if there are none or they are damaged."""
    with suppress(OSError, ValueError):
        numbers = json.loads(_numbers(key).read_bytes())
        if isinstance(numbers, list) and numbers and all(type(number) is int for number in numbers):
            return numbers
    return None


def _numbers(key: str) -> Path:
    return data_home() / "counts" / f"{key}.json"


def _within(root: Path, path: Path) -> str:
    """Return the path of `path` relative to `root`; ten times as fast as `relative_to`."""
    start, whole = f"{root}{os.sep}", str(path)
    return whole[len(start) :] if whole.startswith(start) else str(path.relative_to(root))


def _digest(root: Path, paths: Sequence[Path]) -> str:
    whole = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{_within(root, path)}\0{content}\n".encode())
    return whole.hexdigest()


def _path(key: str) -> Path:
    return data_home() / "facts" / f"{key}.json"


def _read(key: str) -> Facts | str | None:
    """Return what is remembered under `key`: facts, or the error that refused the files; None if there is nothing."""
    try:
        body = json.loads(_path(key).read_bytes())
        if isinstance(refused := body.get("refused"), str):
            return _remembered.setdefault(key, refused)
        found = Facts(body["digest"], Outline.of(body["outline"]), body["files"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return _remembered.setdefault(key, found)


def _write(key: str, found: Facts | str, stamp: Stamp) -> None:
    """Remember facts, or an error; if the folder cannot be written, they are computed again next time."""
    newest = max((max(times) for _, _, *times in stamp), default=0)
    if time.time_ns() - newest < SETTLED_SECONDS * 1e9:
        return
    _remembered[key] = found
    if isinstance(found, str):
        body: dict[str, object] = {"refused": found}
    else:
        body = {"digest": found.digest, "outline": asdict(found.outline), "files": found.files}
    _put(_path(key), json.dumps(body))


def _put(path: Path, text: str) -> None:
    temporary = path.with_name(f".tmp-{uuid.uuid4().hex}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text)
        temporary.replace(path)
