"""Origins of two runs of one sweep: settings, code, software, machines, and the bytes of their artifacts."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nrf_ray.graph.record import Record
from nrf_ray.graph.source import digest_text
from nrf_ray.results.stored_sweep import KeptSweep


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Field of a config that differs between stages of one kind and title."""

    stage: str
    """Kind of the stages."""
    path: str
    """Path of the field in the config, as in recipe.epochs."""
    first: Any
    """Its value in the first store; None also if the config there has no such field."""
    second: Any
    """Its value in the second store."""
    count: int
    """Number of stages."""


@dataclass(frozen=True, kw_only=True)
class Circumstance:
    """Item of the stages' provenance that differs between the two stores."""

    name: str
    """Name of the item: a package, processor, commit, source digest of a stage, ..."""
    first: tuple[str, ...]
    """Its values in the first store."""
    second: tuple[str, ...]
    """Its values in the second store."""


@dataclass(frozen=True, kw_only=True)
class OtherBytes:
    """Artifact with the same key in both stores, but different content."""

    stage: str
    """Kind of the stage."""
    key: str
    """Its key."""
    label: str
    """Title of the stage."""
    differing: tuple[str, ...]
    """Names of the files and metrics that differ."""


@dataclass(frozen=True, kw_only=True)
class Origins:
    """Differences between the origins of two runs of one sweep."""

    settings: tuple[Setting, ...]
    """Config fields that differ, those of most stages first."""
    circumstances: tuple[Circumstance, ...]
    """Differences in software, code and machines."""
    same_keys: int
    """Number of artifacts with the same key in both stores, which should have the same bytes."""
    other_bytes: tuple[OtherBytes, ...]
    """Artifacts with the same key whose bytes differ."""


def compare_origins(first: KeptSweep, second: KeptSweep) -> Origins:
    """Return the differences between the origins of two runs of one sweep."""
    shared = [key for key in first.records if key in second.records]
    differing = (_other_bytes(first.records[key], second.records[key]) for key in shared)
    return Origins(
        settings=tuple(_settings(first, second)),
        circumstances=tuple(_circumstances(first, second)),
        same_keys=len(shared),
        other_bytes=tuple(found for found in differing if found is not None),
    )


def _settings(first: KeptSweep, second: KeptSweep) -> Iterator[Setting]:
    """Yield the differences between the configs of stages with the same kind and title, most stages first."""
    named = {(record.stage, record.provenance.get("label")): record for record in first.records.values()}
    counts: Counter[tuple[str, str, str, str]] = Counter()
    values: dict[tuple[str, str, str, str], tuple[Any, Any]] = {}
    for record in second.records.values():
        other = named.get((record.stage, record.provenance.get("label")))
        if other is None or other.key == record.key:
            continue
        left, right = dict(_leaves(other.config)), dict(_leaves(record.config))
        for path in {**left, **right}:
            if left.get(path) != right.get(path):
                found = (record.stage, path, repr(left.get(path)), repr(right.get(path)))
                counts[found] += 1
                values[found] = left.get(path), right.get(path)
    for found, count in counts.most_common():
        stage, path, *_ = found
        yield Setting(stage=stage, path=path, first=values[found][0], second=values[found][1], count=count)


def _leaves(config: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and value of every field of a config, down to fields that have no fields."""
    if isinstance(config, Mapping):
        for name, value in config.items():
            yield from _leaves(value, f"{path}.{name}" if path else name)
    else:
        yield path, config


LOOKED_AT: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "commit": lambda came: came.get("commit"),
    "code changed since the commit": lambda came: came.get("dirty"),
    "python": lambda came: came.get("python"),
    "processor": lambda came: came.get("processor"),
    "accelerators": lambda came: ", ".join(came.get("accelerators") or ()) or "none",
    "device": lambda came: came.get("device"),
    "threads": lambda came: came.get("threads"),
}
"""Items of the provenance that are compared, besides versions and source digests."""


def _circumstances(first: KeptSweep, second: KeptSweep) -> Iterator[Circumstance]:
    left, right = ({"preset": {sweep.preset} - {""}, **_seen(sweep.records.values())} for sweep in (first, second))
    for name in {**left, **right}:
        mine, theirs = left.get(name, set()), right.get(name, set())
        if mine != theirs:
            yield Circumstance(name=name, first=tuple(sorted(mine)), second=tuple(sorted(theirs)))


def _seen(records: Iterable[Record]) -> dict[str, set[str]]:
    """Return all values that occur in the records, by name of the item."""
    seen: dict[str, set[str]] = {}
    for record in records:
        came = record.provenance
        for name, look in LOOKED_AT.items():
            seen.setdefault(name, set()).add(str(look(came)))
        for package, version in came.get("versions", {}).items():
            seen.setdefault(package, set()).add(str(version))
        seen.setdefault(f"version of stage {record.stage}", set()).add(str(record.version))
        seen.setdefault(f"source of stage {record.stage}", set()).add(digest_text(came))
    return seen


def _other_bytes(first: Record, second: Record) -> OtherBytes | None:
    """Return the differences between two artifacts with the same key; None if they are equal."""
    left, right = ({file.name: file.sha256 for file in record.files} for record in (first, second))
    files = sorted(name for name in {**left, **right} if left.get(name) != right.get(name))
    metrics = sorted(
        name for name in {**first.metrics, **second.metrics} if first.metrics.get(name) != second.metrics.get(name)
    )
    if not files and not metrics:
        return None
    label = str(first.provenance.get("label") or first.key[:12])
    return OtherBytes(stage=first.stage, key=first.key, label=label, differing=(*files, *metrics))
