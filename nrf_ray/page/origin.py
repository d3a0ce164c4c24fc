"""Provenance of artifacts, from their records: data, package versions, commits, machines."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from nrf_ray.data.shared_rows import MOST, known_shared
from nrf_ray.graph.canonical import Json, Key
from nrf_ray.graph.record import Record
from nrf_ray.graph.source import digest_text
from nrf_ray.graph.store import Place, Store
from nrf_ray.page.snapshot import Host, Origin


class Records:
    """Records of a run, read as they are committed, each once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.by_key: dict[Key, Record] = {}

    def read(self, places: Iterable[Place]) -> None:
        """Read the records of `places` that are not read yet; damaged and missing records are skipped."""
        new = [place for place in places if place.key not in self.by_key]
        found = zip(new, self._store.sound_records(new), strict=True)
        self.by_key |= {place.key: record for place, record in found if record is not None}


def origin_of(records: Iterable[Record]) -> Origin:
    """Return the provenance of the artifacts with these records."""
    versions: dict[str, set[str]] = defaultdict(set)
    digests: dict[str, set[str]] = defaultdict(set)
    datasets: dict[tuple[str, str], str] = {}
    commits: set[str] = set()
    hosts: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for record in records:
        told = record.provenance
        versions["python"].add(str(told["python"]))
        for package, version in told["versions"].items():
            versions[package].add(str(version))
        digests[record.stage].add(digest_text(told))
        for dataset in _datasets(record.config):
            datasets[dataset] = _shared(record, dataset[1]) or datasets.get(dataset, "")
        commits.add(_commit(told))
        hosts[str(told["host"]), _model(told), str(told["device"])].append(record.seconds)
    return Origin(
        versions=tuple((name, ", ".join(sorted(found))) for name, found in versions.items()),
        commits=tuple(sorted(commits)),
        digests=tuple((kind, ", ".join(sorted(found))) for kind, found in sorted(digests.items())),
        datasets=tuple((*dataset, shared or "not counted") for dataset, shared in sorted(datasets.items())),
        hosts=tuple(
            Host(name=name, processor=model, device=device, stages=len(seconds), seconds=sum(seconds))
            for (name, model, device), seconds in sorted(hosts.items())
        ),
    )


def _datasets(config: Json) -> set[tuple[str, str]]:
    """Return name and digest of the dataset in a config; empty if the config has no dataset."""
    named = config.get("dataset") if isinstance(config, dict) else None
    return {(str(named["name"]), str(named["digest"]))} if isinstance(named, dict) else set()


def _shared(record: Record, digest: str) -> str:
    """Return the number of test rows that are training rows too, from the record of an evaluation; otherwise empty.

    Older records lack the number; then it is taken from this machine's copy of the dataset, if they were counted there.
    """
    rows = record.metrics.get("n")
    if record.stage != "evaluate" or not isinstance(rows, int):
        return ""
    count = record.metrics.get("shared_rows", known_shared(digest))
    if not isinstance(count, int):
        return ""
    above = f", more than {MOST:.0%}: accuracies on this test set are too high" if count > MOST * rows else ""
    return f"{count} of {rows}{above}"


def _commit(told: Mapping[str, Any]) -> str:
    if told["commit"] is None:
        return "no git checkout"
    return str(told["commit"])[:12] + (", changed since" if told["dirty"] else "")


def _model(told: Mapping[str, Any]) -> str:
    models = sorted(set(told["accelerators"])) if told["device"] == "cuda" else [str(told["processor"])]
    return ", ".join(models)
