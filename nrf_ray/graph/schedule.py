"""When each stage of a plan would run: the real frontier, on a clock that only counts.

This is what a run does, without Ray and without work. A free slot takes the ready stage with the longest work behind
it; the driver hands out one stage after the other. No schedule is shorter than the longest chain of stages, nor than
all work spread evenly over the slots; how near a run can come to that is what the simulation says, in milliseconds.
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
"""What a stage takes on one slot."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """One stage of a schedule."""

    stage: Stage
    """What runs."""
    slots: tuple[int, ...]
    """Where: one slot, or as many as the pool that makes its shards has actors."""
    start: float
    """Seconds from the start of the run."""
    end: float
    """Seconds from the start of the run."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What runs where and when."""

    spans: tuple[Span, ...]
    """Every stage once, in the order of their starts."""
    slots: int
    """How many there are."""

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
        """When the last stage was handed out: whatever falls free from there on stays free."""
        return max((span.start for span in self.spans), default=0.0)

    def utilisation(self, start: float = 0.0, end: float | None = None) -> float:
        """Return the share of the slots' time from `start` to `end` (the end of the run) that they work."""
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
) -> Schedule:
    """Return how the stages `todo` (inputs first) run on `slots` slots.

    `cost` is what they are expected to take, by which the frontier orders them; `takes` what they take in truth, where
    that differs. The driver needs `handout` seconds for each stage and does one after the other; a slot waits for it.
    So many stages are chosen `ahead` of a free slot, as Tune does: what gets ready later cannot overtake them. A stage
    of several shards takes the slots of its pool at once, and one of several workers a slot for each (or all there
    are); until it has them nothing else starts.
    """
    takes = cost if takes is None else takes
    frontier = Frontier(todo, cost)
    free, chosen, running, spans = list(range(slots)), deque[Stage](), list[tuple[float, int, Span]](), list[Span]()
    now = driver = 0.0
    while True:
        while len(chosen) < ahead + bool(free) and (stage := frontier.next_ready()) is not None:
            chosen.append(stage)
        if chosen and (wide := min(slots, width(chosen[0], frontier, slots))) <= len(free):
            stage = chosen.popleft()
            driver = max(driver, now) + handout
            where = tuple(heapq.heappop(free) for _ in range(wide))
            end = driver + takes(stage) * _rounds(shards_of(stage), wide)
            spans.append(Span(stage=stage, slots=where, start=driver, end=end))
            heapq.heappush(running, (end, len(spans), spans[-1]))
        elif running:
            now, _, ended = heapq.heappop(running)
            for slot in ended.slots:
                heapq.heappush(free, slot)
            frontier.done(ended.stage.key)
        else:
            return Schedule(spans=tuple(spans), slots=slots)


def lower_bound(todo: list[Stage], slots: int, cost: Seconds = Stage.cost) -> float:
    """Return the seconds that no schedule of `todo` (inputs first) on `slots` slots can beat.

    It is the longest chain of stages, each set made on as many slots as it has shards, or all work spread evenly.
    """
    work = sum(cost(stage) * min(slots, workers_of(stage)) for stage in todo)
    return max(longest_chain(todo, slots, cost), work / slots)


def longest_chain(todo: Iterable[Stage], slots: int, cost: Seconds = Stage.cost) -> float:
    """Return the seconds of the longest chain among the stages `todo` (inputs first) when nothing else runs."""
    ends: dict[Key, float] = {}
    for stage in todo:
        before = max((ends.get(handle.key, 0.0) for handle in stage.inputs.values()), default=0.0)
        ends[stage.key] = before + cost(stage) * _rounds(shards_of(stage), min(shards_of(stage), slots))
    return max(ends.values(), default=0.0)


def _rounds(shards: int, width: int) -> float:
    """Return the share of a set's work that the busiest of `width` slots does: whole shards."""
    return math.ceil(shards / width) / shards
