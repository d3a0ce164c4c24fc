"""Simulation of when each stage of a plan would run, with the real frontier and a simulated clock.

It does what a run does, without Ray and without work. A free slot takes the ready stage that starts the longest chain
of work; the driver hands out one stage after another. No schedule is shorter than the longest chain of stages, or than
all work spread evenly over the slots. The simulation takes milliseconds to show how close a run can come to that.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from nrf_ray.graph.canonical import Key
from nrf_ray.graph.frontier import Frontier
from nrf_ray.graph.pools import width
from nrf_ray.graph.stage import Stage, shards_of, workers_of

Seconds = Callable[[Stage], float]
"""Function that returns the seconds of a stage on one slot."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """Slots and times of one stage in a schedule."""

    stage: Stage
    """The stage that runs."""
    slots: tuple[int, ...]
    """Its slots: one, one for each of its workers, or one for each actor of the pool that makes its shards."""
    start: float
    """Seconds from the start of the run."""
    end: float
    """Seconds from the start of the run."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Slots and times of all stages of a plan."""

    spans: tuple[Span, ...]
    """Every stage once, in the order of start times."""
    slots: int
    """Number of slots."""

    @property
    def wall(self) -> float:
        """Seconds until the last stage ends."""
        return max((span.end for span in self.spans), default=0.0)

    @property
    def work(self) -> float:
        """Busy seconds of all slots."""
        return sum((span.end - span.start) * len(span.slots) for span in self.spans)

    @property
    def tail(self) -> float:
        """Seconds until the last stage starts: slots that become free after that stay free."""
        return max((span.start for span in self.spans), default=0.0)

    def utilisation(self, start: float = 0.0, end: float | None = None) -> float:
        """Return the share of the slots' time from `start` to `end` (by default the run's end) in which they work."""
        end = self.wall if end is None else end
        if end <= start:
            return 1.0
        busy = sum(max(0.0, min(s.end, end) - max(s.start, start)) * len(s.slots) for s in self.spans)
        return busy / (self.slots * (end - start))


def simulate(
    todo: list[Stage],
    slots: int,
    *,
    cost: Seconds = Stage.cost,
    takes: Seconds | None = None,
    handout: float = 0.0,
    ahead: int = 0,
    first: float = 0.0,
) -> Schedule:
    """Return the schedule of the stages `todo` (inputs first) on `slots` slots.

    `cost` returns the expected seconds of a stage, by which the frontier orders stages; `takes` returns its actual
    seconds, if they differ. The driver needs `handout` seconds for each stage, one after another, and the stage's slot
    waits for the driver. `ahead` stages are chosen before a slot is free, as Tune does; stages that become ready later
    cannot overtake them. A stage of several shards takes all slots of its pool at once, and a stage of several workers
    takes a slot for each worker (or all slots, if there are fewer); until it has them, nothing else starts. The first
    stage on a slot takes `first` seconds longer, and so does every stage on several slots, whose processes are new.
    """
    takes = cost if takes is None else takes
    frontier = Frontier(todo, cost)
    free, chosen, running, spans = list(range(slots)), deque[Stage](), list[tuple[float, int, Span]](), list[Span]()
    warm: set[int] = set()
    now = driver = 0.0
    while True:
        while len(chosen) < ahead + bool(free) and (stage := frontier.next_ready()) is not None:
            chosen.append(stage)
        if chosen and (wide := min(slots, width(chosen[0], frontier, slots))) <= len(free):
            stage = chosen.popleft()
            driver = max(driver, now) + handout
            where = tuple(heapq.heappop(free) for _ in range(wide))
            new = wide > 1 or not warm.issuperset(where)
            warm.update(where)
            end = driver + takes(stage) * _rounds(shards_of(stage), wide) + new * first
            spans.append(Span(stage=stage, slots=where, start=driver, end=end))
            heapq.heappush(running, (end, len(spans), spans[-1]))
        elif running:
            now, _, ended = heapq.heappop(running)
            for slot in ended.slots:
                heapq.heappush(free, slot)
            frontier.done(ended.stage.key)
        else:
            return Schedule(spans=tuple(spans), slots=slots)


def ahead_of(slots: int) -> int:
    """Return how many stages a run hands out before a slot is free, so that a process need not wait for the driver."""
    return max(2, slots // 4)


def lower_bound(todo: list[Stage], slots: int, cost: Seconds = Stage.cost) -> float:
    """Return the seconds that no schedule of `todo` (inputs first) on `slots` slots can beat.

    It is the larger of two: the longest chain of stages, each set made on as many slots as it has shards; and all work
    spread evenly over the slots.
    """
    work = sum(cost(stage) * min(slots, workers_of(stage)) for stage in todo)
    return max(longest_chain(todo, slots, cost), work / slots)


def longest_chain(todo: Iterable[Stage], slots: int, cost: Seconds = Stage.cost) -> float:
    """Return the seconds of the longest chain among the stages `todo` (inputs first) if nothing else runs."""
    ends: dict[Key, float] = {}
    for stage in todo:
        before = max((ends.get(handle.key, 0.0) for handle in stage.inputs.values()), default=0.0)
        ends[stage.key] = before + cost(stage) * _rounds(shards_of(stage), min(shards_of(stage), slots))
    return max(ends.values(), default=0.0)


def _rounds(shards: int, width: int) -> float:
    """Return the share of a set's work that the busiest of `width` slots does, in whole shards."""
    return math.ceil(shards / width) / shards
