"""Estimates of the seconds that stages take, from the times of earlier stages.

Each kind of stage has a cost formula with constants that were measured once, on one machine. Every record stores the
measured time and, except for sets of several shards, the formula's estimate. The median ratio of measured to estimated
time, on machines like the one that the plan is for, corrects the formula. The median is over the same work with other
seeds; if there are too few such records, over the same kind of stage with the same network; if still too few, over the
same kind; if still too few, over all stages on the same device, each weighted by its work. Without any record the
formula for such a machine is used. The plan says which.

The first stage of a process also waits for imports and chooses kernels, so its record is left out.

Estimates order and announce the work. They are in no key and in no table.
"""

import enum
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate, groupby, islice
from typing import Any

from nrf_ray.graph.record import COST_FORM, Record, arch_of
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import RECORD, Contents, Store

LEAST = 3
"""Fewest records that a median is taken over; the time of a single one may have been disturbed."""
LEAST_WORK = 1.0
"""Least seconds, by formula, of the stages from which other kinds are estimated; in less, overhead prevails."""
SAMPLE = 100
"""Records read of each kind of stage. Keys are hashes, so the first by key are a random sample."""

Likeness = tuple[str | float | None, ...]
"""Properties that stages have in common: device; kind; kind and network; kind, network and the formula's estimate."""


class Basis(enum.StrEnum):
    """Evidence for an estimate."""

    SAME = "same work"
    NETWORK = "same network"
    KIND = "same kind"
    MACHINE = "same machine"
    FORMULA = "formula"


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """Expected seconds of stages on one kind of machine."""

    ratios: Mapping[Likeness, float] = field(default_factory=dict)
    """Median ratio of measured to expected seconds, over the records with this likeness."""
    formula: Callable[[Stage], float] = Stage.cost
    """Function that returns the expected seconds of a stage with too few similar records."""

    def seconds(self, stage: Stage) -> float:
        """Return the expected seconds of one run of `stage`."""
        expected = stage.cost()
        ratio = self._best(stage, expected)[1]
        return self.formula(stage) if ratio is None else expected * ratio

    def basis(self, stage: Stage) -> Basis:
        """Return the evidence for the estimate of `stage`."""
        return self._best(stage, stage.cost())[0]

    def _best(self, stage: Stage, expected: float) -> tuple[Basis, float | None]:
        own = _likenesses(stage.kind.name, arch_of(stage), expected)
        for basis, likeness in zip(Basis, (*own, _on(stage.resources.device)), strict=False):
            if likeness in self.ratios:
                return basis, self.ratios[likeness]
        return Basis.FORMULA, None


def learn(
    store: Store,
    held: Contents,
    alike: Callable[[Mapping[str, Any]], bool],
    formula: Callable[[Stage], float] = Stage.cost,
) -> Estimates:
    """Return estimates from the records in `store`, listed in `held`, whose provenance (machine) is `alike`.

    `formula` returns the expected seconds of a stage on such a machine if no records tell.
    """
    committed = sorted(place for place, notes in held.items() if RECORD in notes)
    sample = [place for _, places in groupby(committed, lambda place: place.stage) for place in islice(places, SAMPLE)]
    found = learn_from(record for record in store.sound_records(sample) if record and alike(record.provenance))
    return replace(found, formula=formula)


def learn_from(records: Iterable[Record]) -> Estimates:
    """Return estimates from `records`; those without an estimate by today's formulas are ignored."""
    found: dict[Likeness, list[float]] = defaultdict(list)
    work: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for record in records:
        told = record.provenance
        expected = told.get("expected_seconds")
        if expected and told.get("expected_form") == COST_FORM and not told.get("first_of_process"):
            for likeness in _likenesses(record.stage, told.get("arch"), expected):
                found[likeness].append(record.seconds / expected)
            work[str(told.get("device"))].append((record.seconds / expected, expected))
    ratios = {like: statistics.median(all_) for like, all_ in found.items() if len(all_) >= LEAST}
    for device, pairs in work.items():
        if len(pairs) >= LEAST and sum(weight for _, weight in pairs) >= LEAST_WORK:
            ratios[_on(device)] = _weighted_median(pairs)
    return Estimates(ratios=ratios)


def _weighted_median(pairs: list[tuple[float, float]]) -> float:
    """Return the value at which half of the weight is reached, for pairs of a value and its weight."""
    ordered = sorted(pairs)
    half = sum(weight for _, weight in ordered) / 2
    reached = accumulate(weight for _, weight in ordered)
    return next(value for (value, _), so_far in zip(ordered, reached, strict=True) if so_far >= half)


def _likenesses(kind: str, arch: str | None, expected: float) -> tuple[Likeness, ...]:
    """Return the likenesses of a stage to others, the most specific first.

    Stages with the same seconds by the formula are the same work: it depends on dataset, steps, epochs and rows, but
    not on seeds.
    """
    return (kind, arch, round(expected, 3)), (kind, arch), (kind,)


def _on(device: str) -> Likeness:
    """Return the likeness of all stages on `device` (cpu, cuda)."""
    return "on", device, None, None
