"""What stages will take, learned from what others took.

The cost of a stage kind is a formula with constants that were measured once, on one machine. Every record says what the
formula said of its stage beside what the work took in truth. The median of that ratio, on machines like the one that
the plan is for, corrects the formula: over the same work with other seeds, else over the same kind of stage with the
same network, else over the same kind. Where too little is known the formula stands alone, and the plan says so.

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
"""How many records of one sort say something; one may have been disturbed."""
SAMPLE = 100
"""How many records of each kind of stage are read. Keys are hashes, so the first by key are a fair draw."""

Likeness = tuple[str | float | None, ...]
"""What two stages have in common: kind; kind and network; or kind, network and what the formula says."""


class Basis(enum.StrEnum):
    """What an estimate rests on."""

    SAME = "same work"
    NETWORK = "same network"
    KIND = "same kind"
    FORMULA = "formula"


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """Expected seconds of stages on one kind of machine."""

    ratios: Mapping[Likeness, float] = field(default_factory=dict)
    """Measured over expected seconds: the median over the records that have this in common."""
    unknown: float = 1.0
    """The same where no record has anything in common: what is known of such machines beforehand."""

    def seconds(self, stage: Stage) -> float:
        """Return the expected seconds of one run of `stage`."""
        expected = stage.cost()
        _, ratio = self._best(stage, expected)
        return expected * ratio

    def basis(self, stage: Stage) -> Basis:
        """Return what the estimate of `stage` rests on."""
        return self._best(stage, stage.cost())[0]

    def _best(self, stage: Stage, expected: float) -> tuple[Basis, float]:
        for basis, likeness in zip(Basis, _likenesses(stage.kind.name, arch_of(stage), expected), strict=False):
            if likeness in self.ratios:
                return basis, self.ratios[likeness]
        return Basis.FORMULA, self.unknown


def learn(store: Store, held: Contents, alike: Callable[[Mapping[str, Any]], bool], unknown: float = 1.0) -> Estimates:
    """Return what the records in `store`, which lists `held`, teach about machines whose provenance is `alike`."""
    committed = sorted(place for place, notes in held.items() if RECORD in notes)
    sample = [place for _, places in groupby(committed, lambda place: place.stage) for place in islice(places, SAMPLE)]
    found = learn_from(record for record in store.sound_records(sample) if record and alike(record.provenance))
    return replace(found, unknown=unknown)


def learn_from(records: Iterable[Record]) -> Estimates:
    """Return what `records` teach; those of before estimates were kept teach nothing."""
    found: dict[Likeness, list[float]] = defaultdict(list)
    for record in records:
        expected = record.provenance.get("expected_seconds")
        if expected:
            for likeness in _likenesses(record.stage, record.provenance.get("arch"), expected):
                found[likeness].append(record.seconds / expected)
    return Estimates(ratios={like: statistics.median(all_) for like, all_ in found.items() if len(all_) >= LEAST})


def _likenesses(kind: str, arch: str | None, expected: float) -> tuple[Likeness, ...]:
    """Return what a stage has in common with others, the most telling first.

    What the formula gives the same seconds is the same work: dataset, steps, epochs and rows are all in it, seeds not.
    """
    return (kind, arch, round(expected, 3)), (kind, arch), (kind,)
