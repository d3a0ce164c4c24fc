"""File metadata that is remembered between runs: a digest of the files' bytes, and their outline.

The digest is over bytes and not over decoded pixels, because a plan needs the digest: reading 100 MB takes a tenth of a
second, decoding 60,000 images takes ten seconds. The price is that the same pixels in another container are another
dataset.

Both are remembered in `<data home>/facts` under the files' paths, sizes and times, so they are computed once. They are
not remembered for files written within the last two seconds: another change so soon might not change path, size or
time.
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


RULES = 3
"""Version of the readers' checks: files that an older version accepted are checked again, and keep their digest."""

_remembered: dict[str, Facts] = {}


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
        about = json.dumps([RULES, files.location, files.format.version, stamp, *other])
        key = hashlib.sha256(about.encode()).hexdigest()
        facts = _remembered.get(key) or _read(key)
        if facts is None:
            facts = Facts(_digest(files.path, paths), outline(files.path), len(paths))
            _write(key, facts, stamp)
    except OSError as error:
        raise ConfigError(f"dataset {files.location} cannot be read: {error.strerror}: {error.filename}") from error
    return facts


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


def _read(key: str) -> Facts | None:
    try:
        body = json.loads(_path(key).read_bytes())
        lists = {name: tuple(body["outline"][name]) for name in ("shape", "classes", "labels")}
        facts = Facts(body["digest"], Outline(**{**body["outline"], **lists}), body["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return _remembered.setdefault(key, facts)


def _write(key: str, facts: Facts, stamp: Stamp) -> None:
    """Remember `facts`; if the folder cannot be written, they are computed again next time."""
    newest = max((max(times) for _, _, *times in stamp), default=0)
    if time.time_ns() - newest < SETTLED_SECONDS * 1e9:
        return
    _remembered[key] = facts
    _put(_path(key), json.dumps({"digest": facts.digest, "outline": asdict(facts.outline), "files": facts.files}))


def _put(path: Path, text: str) -> None:
    temporary = path.with_name(f".tmp-{uuid.uuid4().hex}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text)
        temporary.replace(path)
