"""What is known of files without reading them again: a digest of their bytes, and their outline.

The digest is over bytes and not over decoded pixels, because a plan needs it: reading 100 MB takes a tenth of a
second, decoding 60,000 images takes ten. The price is that the same pixels in another container are another dataset.

Both are remembered in `<data home>/facts` under the files' paths, sizes and times, so they are worked out once. Files
that were written within the last two seconds are not remembered: a change so soon could leave all three as they are.
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
"""Name within the set, size, time of change of content and of anything else (ns) of every file."""


class Facts(NamedTuple):
    """What planning needs of some files."""

    digest: str
    """sha256 over the names within the set and the bytes of every file."""
    outline: Outline
    """What they hold."""
    files: int
    """How many there are."""


RULES = 3
"""Version of what readers refuse: what an older one took is looked at again, and keeps its digest."""

_remembered: dict[str, Facts] = {}


def facts_of(files: Files, *, whole: bool = False) -> Facts:
    """Return the facts of `files`, all rows of which are for training if `whole`, or no other set is tested on.

    Raises ConfigError where they cannot be read as what they should be.
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
    """Return what tells whether any of the files at `paths` has been changed."""
    found = [(_within(root, path), path.stat()) for path in paths]
    return tuple((name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for name, stat in found)


def noted(key: str, make: Callable[[], list[int]]) -> list[int]:
    """Return what `make` returns, a few numbers that follow from the content that `key` names; remembered for good."""
    numbers = known_numbers(key)
    if numbers is None:
        numbers = make()
        _put(_numbers(key), json.dumps(numbers))
    return numbers


def known_numbers(key: str) -> list[int] | None:
    """Return what `noted` remembers of `key`; None where it has not been called, or what it wrote is damaged."""
    with suppress(OSError, ValueError):
        numbers = json.loads(_numbers(key).read_bytes())
        if isinstance(numbers, list) and numbers and all(type(number) is int for number in numbers):
            return numbers
    return None


def _numbers(key: str) -> Path:
    return data_home() / "counts" / f"{key}.json"


def _within(root: Path, path: Path) -> str:
    """Return the name of `path` below `root`, as `relative_to` does at ten times the time."""
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
    """Remember `facts`; without a folder to write to, they are worked out again next time."""
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
