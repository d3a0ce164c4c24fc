"""Estimates of the seconds that stages take, from the times of earlier stages.

Each kind of stage has a cost formula with constants that were measured once, on one machine. Every record stores the
measured time and, except for sets of several shards, the formula's estimate. The median ratio of measured to estimated
time, on machines like the one that the plan is for, corrects the formula. The median is over the same work with other
seeds; if there are too few such records, over the same kind of stage with the same network; if still too few, over the
same kind. Otherwise the formula is used with a ratio for such machines, 1 by default, and the plan says so.

Estimates order and announce the work. They are in no key and in no table.
"""

import enum
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from typing import Any

from nrf_ray.graph.record import Record, arch_of
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import RECORD, Contents, Store

LEAST = 3
"""Fewest records that a median is taken over; the time of a single one may have been disturbed."""
SAMPLE = 100
"""Records read of each kind of stage. Keys are hashes, so the first by key are a random sample."""

Likeness = tuple[str | float | None, ...]
"""Properties that stages have in common: kind; kind and network; or kind, network and the formula's estimate."""


class Basis(enum.StrEnum):
    """Evidence for an estimate."""

    SAME = "same work"
    NETWORK = "same network"
    KIND = "same kind"
    FORMULA = "formula"


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """Expected seconds of stages on one kind of machine."""

    ratios: Mapping[Likeness, float] = field(default_factory=dict)
    """Median ratio of measured to expected seconds, over the records with this likeness."""
    unknown: float = 1.0
    """Ratio for stages with too few similar records: the ratio known in advance for such machines."""

    def seconds(self, stage: Stage) -> float:
        """Return the expected seconds of one run of `stage`."""
        expected = stage.cost()
        _, ratio = self._best(stage, expected)
        return expected * ratio

    def basis(self, stage: Stage) -> Basis:
        """Return the evidence for the estimate of `stage`."""
        return self._best(stage, stage.cost())[0]

    def _best(self, stage: Stage, expected: float) -> tuple[Basis, float]:
        for basis, likeness in zip(Basis, _likenesses(stage.kind.name, arch_of(stage), expected), strict=False):
            if likeness in self.ratios:
                return basis, self.ratios[likeness]
        return Basis.FORMULA, self.unknown


def learn(store: Store, held: Contents, alike: Callable[[Mapping[str, Any]], bool], unknown: float = 1.0) -> Estimates:
    """Return estimates from the records in `store`, listed in `held`, whose provenance (machine) is `alike`."""
    committed = sorted(place for place, notes in held.items() if RECORD in notes)
    sample = [place for _, places in groupby(committed, lambda place: place.stage) for place in islice(places, SAMPLE)]
    found = learn_from(record for record in store.sound_records(sample) if record and alike(record.provenance))
    return replace(found, unknown=unknown)


def learn_from(records: Iterable[Record]) -> Estimates:
    """Return estimates from `records`; records without the formula's estimate are ignored."""
    found: dict[Likeness, list[float]] = defaultdict(list)
    for record in records:
        expected = record.provenance.get("expected_seconds")
        if expected:
            for likeness in _likenesses(record.stage, record.provenance.get("arch"), expected):
                found[likeness].append(record.seconds / expected)
    return Estimates(ratios={like: statistics.median(all_) for like, all_ in found.items() if len(all_) >= LEAST})


def _likenesses(kind: str, arch: str | None, expected: float) -> tuple[Likeness, ...]:
    """Return the likenesses of a stage to others, the most specific first.

    Stages with the same seconds by the formula are the same work: it depends on dataset, steps, epochs and rows, but
    not on seeds.
    """
    return (kind, arch, round(expected, 3)), (kind, arch), (kind,)
