"""What was behind two runs of one sweep: settings, code, software, machines, and the bytes that came of them."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nrf_ray.graph.record import Record
from nrf_ray.graph.source import digest_text
from nrf_ray.results.stored_sweep import KeptSweep


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A part of a config that differs between stages of one kind and name."""

    stage: str
    """Kind of the stages."""
    path: str
    """Where in their config, as in recipe.epochs."""
    first: Any
    """Its value in the first store; None too where it has no such part."""
    second: Any
    """Its value in the second store."""
    count: int
    """How many stages."""


@dataclass(frozen=True, kw_only=True)
class Circumstance:
    """Something in the provenance of the stages that is not the same on both sides."""

    name: str
    """What it is: a package, processor, commit, source digest of a stage, ..."""
    first: tuple[str, ...]
    """Its values in the first store."""
    second: tuple[str, ...]
    """Its values in the second store."""


@dataclass(frozen=True, kw_only=True)
class OtherBytes:
    """An artifact with one key in both stores and not the same content."""

    stage: str
    """Kind of the stage."""
    key: str
    """Its key."""
    label: str
    """What people call it."""
    differing: tuple[str, ...]
    """The names of the files and metrics that differ."""


@dataclass(frozen=True, kw_only=True)
class Origins:
    """What was behind two runs of one sweep."""

    settings: tuple[Setting, ...]
    """Parts of configs that differ, most stages first."""
    circumstances: tuple[Circumstance, ...]
    """Differences in software, code and machines."""
    same_keys: int
    """Artifacts with one key in both stores: they should be the same bytes."""
    other_bytes: tuple[OtherBytes, ...]
    """Those that are not."""


def compare_origins(first: KeptSweep, second: KeptSweep) -> Origins:
    """Return what differs behind two runs of one sweep."""
    shared = [key for key in first.records if key in second.records]
    differing = (_other_bytes(first.records[key], second.records[key]) for key in shared)
    return Origins(
        settings=tuple(_settings(first, second)),
        circumstances=tuple(_circumstances(first, second)),
        same_keys=len(shared),
        other_bytes=tuple(found for found in differing if found is not None),
    )


def _settings(first: KeptSweep, second: KeptSweep) -> Iterator[Setting]:
    """Yield the differences between the configs of stages with one kind and label, most stages first."""
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
    """Yield the parts of a config that have no parts themselves, with where they are."""
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
"""What of a provenance is compared, beside versions and source digests."""


def _circumstances(first: KeptSweep, second: KeptSweep) -> Iterator[Circumstance]:
    left, right = ({"preset": {sweep.preset} - {""}, **_seen(sweep.records.values())} for sweep in (first, second))
    for name in {**left, **right}:
        mine, theirs = left.get(name, set()), right.get(name, set())
        if mine != theirs:
            yield Circumstance(name=name, first=tuple(sorted(mine)), second=tuple(sorted(theirs)))


def _seen(records: Iterable[Record]) -> dict[str, set[str]]:
    """Return every value that occurs, by name."""
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
    """Return what differs between two artifacts of one key; None where nothing does."""
    left, right = ({file.name: file.sha256 for file in record.files} for record in (first, second))
    files = sorted(name for name in {**left, **right} if left.get(name) != right.get(name))
    metrics = sorted(
        name for name in {**first.metrics, **second.metrics} if first.metrics.get(name) != second.metrics.get(name)
    )
    if not files and not metrics:
        return None
    label = str(first.provenance.get("label") or first.key[:12])
    return OtherBytes(stage=first.stage, key=first.key, label=label, differing=(*files, *metrics))
