"""The plan: which stages the goals need, the state of each, and why.

The inputs of a committed stage are not examined, because they no longer matter. All other stages are listed in an order
in which they could run.
"""

import enum
from collections import Counter
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from functools import cached_property

from nrf_ray.graph.canonical import Key
from nrf_ray.graph.former import Former
from nrf_ray.graph.lease import running_elsewhere
from nrf_ray.graph.record import Record
from nrf_ray.graph.source import FORM, source_digest
from nrf_ray.graph.stage import Stage, walk, workers_of
from nrf_ray.graph.store import FAILURE, LEASE, RECORD, Contents, Store, place_of


class State(enum.StrEnum):
    """State of a stage in a plan."""

    CACHED = "cached"
    READY = "ready"
    WAITING = "waiting"
    ELSEWHERE = "running elsewhere"
    FAILED = "failed before"
    BLOCKED = "blocked"


@dataclass(frozen=True, kw_only=True)
class Step:
    """Plan entry: one stage and its state."""

    stage: Stage
    state: State
    reason: str
    seconds: float
    """Expected seconds, of each of its workers on one core, or on one GPU if the stage asks for one; 0 if cached."""

    @property
    def work(self) -> float:
        """Expected core-seconds of all its workers, or GPU-seconds of all GPUs that they hold."""
        return self.seconds * workers_of(self.stage) * max(1.0, self.stage.resources.gpus)


@dataclass(frozen=True)
class Plan:
    """All plan entries for the goals, inputs first."""

    steps: tuple[Step, ...]

    @cached_property
    def _seconds(self) -> dict[Key, float]:
        return {step.stage.key: step.seconds for step in self.steps if step.state is not State.CACHED}

    def cost(self, stage: Stage) -> float:
        """Return the expected seconds of a stage, also of a stage that must run although the plan did not list it."""
        return self._seconds[stage.key] if stage.key in self._seconds else stage.cost()

    def todo(self) -> list[Stage]:
        """Return the stages that have to run, inputs first."""
        return [step.stage for step in self.steps if step.state is not State.CACHED]

    def counts(self) -> Counter[State]:
        """Return how many stages are in each state."""
        return Counter(step.state for step in self.steps)

    def seconds(self, device: str = "cpu") -> float:
        """Return the expected work of the stages that ask for `device`, in seconds of one core or of one GPU."""
        return sum(step.work for step in self.steps if step.stage.resources.device == device)


def make_plan(
    goals: list[Stage], store: Store, *, held: Contents | None = None, cost: Callable[[Stage], float] = Stage.cost
) -> Plan:
    """Return the plan for `goals`, given the contents of `store`; change nothing.

    `held` is the listing of the store, if it is known already; `cost` returns the expected seconds of a stage.
    """
    held = store.contents() if held is None else held
    records, former = _look_up(goals, store, held), Former(store, held)
    steps: list[Step] = []
    stuck: dict[Key, str] = {}
    """Title of the failed stage (itself or one that it needs), by the key of each failed or blocked stage."""
    for stage in walk(goals):
        if stage.key not in records:
            continue
        record = records[stage.key]
        if record is not None:
            reason = _cached_reason(stage, record)
            steps.append(Step(stage=stage, state=State.CACHED, reason=reason, seconds=0.0))
        else:
            notes = held.get(place_of(stage), frozenset())
            state, reason = _open_state(stage, store, records, notes, stuck)
            if state in (State.READY, State.WAITING) and (changed := former.changed(stage)):
                reason = changed if state is State.READY else f"{reason}; {changed}"
            steps.append(Step(stage=stage, state=state, reason=reason, seconds=cost(stage)))
    return Plan(tuple(steps))


def _look_up(goals: list[Stage], store: Store, held: Contents) -> dict[Key, Record | None]:
    """Return the record of each goal and, recursively, of the inputs of stages without a record; None if missing."""
    records: dict[Key, Record | None] = {}
    todo = {stage.key: stage for stage in goals}
    while todo:
        committed = [place for stage in todo.values() if RECORD in held.get(place := place_of(stage), ())]
        found = dict(zip(committed, store.sound_records(committed), strict=True))
        records |= {stage.key: found.get(place_of(stage)) for stage in todo.values()}
        missing = [stage for stage in todo.values() if records[stage.key] is None]
        todo = {i.key: i for stage in missing for i in stage.inputs.values() if i.key not in records}
    return records


def _cached_reason(stage: Stage, record: Record) -> str:
    built = f"built in {record.seconds:.1f} s"
    if record.provenance.get("source_form", 1) != FORM:
        return f"{built}; its code digest has an older form and cannot be compared"
    if record.provenance["source_digest"] != source_digest(stage.kind.body):
        return f"built with different code of {stage.kind.name}: raise its version if results change"
    return built


def _open_state(
    stage: Stage, store: Store, records: Mapping[Key, Record | None], notes: Set[str], stuck: dict[Key, str]
) -> tuple[State, str]:
    """Return the state and reason of a stage that is not committed; add it to `stuck` if it failed or is blocked."""
    holder = running_elsewhere(store, stage) if LEASE in notes else None
    if holder is not None:
        return State.ELSEWHERE, holder
    behind = [stuck[handle.key] for handle in stage.inputs.values() if handle.key in stuck]
    waiting = [handle.title for handle in stage.inputs.values() if records[handle.key] is None]
    failure = store.failure(stage) if FAILURE in notes else None
    if behind:
        stuck[stage.key] = behind[0]
        return State.BLOCKED, f"by {', '.join(dict.fromkeys(behind))}, which failed before"
    if failure is not None:
        stuck[stage.key] = stage.title
        return State.FAILED, f"{failure}; it is tried again"
    if waiting:
        return State.WAITING, f"for {', '.join(waiting)}"
    return State.READY, "its record is damaged" if RECORD in notes else "not in the store"
