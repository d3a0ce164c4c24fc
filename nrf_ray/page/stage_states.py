"""State of every stage of a run: from the frontier while it runs, from the store afterwards."""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass

from nrf_ray.graph.canonical import Key
from nrf_ray.graph.frontier import Frontier, Progress
from nrf_ray.graph.store import FAILURE, LEASE, RECORD, Contents, Store
from nrf_ray.page.outline import Listed, Outline
from nrf_ray.page.snapshot import HELD, Failure, StageFact, Standing

MOST_FAILURES = 20
"""Maximum number of tracebacks that are read for one page."""

Told = tuple[Standing, str]
"""State of a stage, and the reason if there is one."""


def by_frontier(outline: Outline, frontier: Frontier, at_work: Set[Key]) -> list[StageFact]:
    """Return the state of every stage in a run whose `frontier` another thread may change at the same time.

    `at_work` are the stages that have a process; other stages that were handed out still wait for one.
    """
    states, errors = dict(list(frontier.state.items())), dict(list(frontier.errors.items()))

    def told(stage: Listed, inputs: list[StageFact]) -> Told:
        state = states.get(stage.key)
        if state is None:
            return (Standing.KEPT if stage.kept else Standing.DONE), ""
        if state is Progress.RUNNING and stage.key not in at_work:
            return Standing.READY, ""
        return Standing(state.value), errors.get(stage.key, "")

    return _facts(outline, told)


def by_store(outline: Outline, store: Store, held: Contents, *, alive: bool) -> list[StageFact]:
    """Return the state of every stage from the notes in `store`; leases count only if the run is `alive`."""

    def told(stage: Listed, inputs: list[StageFact]) -> Told:
        notes = held.get(stage.place, frozenset())
        if RECORD in notes:
            return (Standing.KEPT if stage.kept else Standing.DONE), ""
        if stage.kept and not inputs:
            return Standing.KEPT, ""
        if FAILURE in notes:
            note = store.blobs.get_json(stage.place.file(FAILURE)) or {}
            return Standing.FAILED, f"{note.get('error')} ({store.path_of(stage.place.file(FAILURE))})"
        if alive and LEASE in notes:
            return Standing.RUNNING, ""
        stuck = next((fact for fact in inputs if fact.standing in (Standing.FAILED, Standing.BLOCKED)), None)
        if stuck is not None:
            why = stuck.reason if stuck.standing is Standing.BLOCKED else f"needs {stuck.title}, which failed"
            return Standing.BLOCKED, why
        return (Standing.READY if all(fact.standing in HELD for fact in inputs) else Standing.WAITING), ""

    return _facts(outline, told)


def _facts(outline: Outline, told: Callable[[Listed, list[StageFact]], Told]) -> list[StageFact]:
    facts: list[StageFact] = []
    for stage in outline.stages:
        inputs = [facts[position] for position in stage.inputs]
        standing, reason = told(stage, inputs)
        facts.append(
            StageFact(
                kind=stage.kind,
                key=stage.key,
                title=stage.title,
                arch=stage.arch,
                inputs=stage.inputs,
                level=max((fact.level + 1 for fact in inputs), default=0),
                standing=standing,
                reason=reason,
            )
        )
    return facts


def failures_among(facts: list[StageFact], store: Store) -> tuple[Failure, ...]:
    """Return the first failed stages, each with its traceback and the number of stages that it blocks."""
    failed = [position for position, fact in enumerate(facts) if fact.standing is Standing.FAILED][:MOST_FAILURES]
    blocks = _blocked_by(facts, failed)
    return tuple(
        Failure(fact=facts[position], trace=_trace(facts[position], store), blocks=blocks[position])
        for position in failed
    )


def _blocked_by(facts: list[StageFact], failed: list[int]) -> Mapping[int, int]:
    """Return the number of stages that each of `failed` blocks, directly or indirectly."""
    behind: list[set[int]] = []
    """For each stage, the members of `failed` that it needs."""
    for fact in facts:
        found = {position for position in fact.inputs if position in failed}
        behind.append(found.union(*(behind[position] for position in fact.inputs)))
    return {position: sum(position in needed for needed in behind) for position in failed}


def _trace(fact: StageFact, store: Store) -> str:
    note = store.blobs.get_json(f"{fact.kind}/{fact.key}/{FAILURE}")
    return str(note.get("traceback", "")) if note else ""


@dataclass(frozen=True, kw_only=True)
class Bottleneck:
    """Stage that others wait for."""

    fact: StageFact
    waiting: int
    """Number of stages that wait for it, directly or indirectly."""


def bottlenecks(facts: list[StageFact], most: int) -> list[Bottleneck]:
    """Return the `most` running or ready stages that most others wait for, in descending order."""
    open_now = [p for p, fact in enumerate(facts) if fact.standing in (Standing.RUNNING, Standing.READY)]
    waiting = {position: 0 for position in open_now}
    behind: list[frozenset[int]] = []
    for fact in facts:
        needed = frozenset[int]().union(*(behind[position] for position in fact.inputs))
        for position in needed if fact.standing is Standing.WAITING else ():
            waiting[position] += 1
        behind.append(needed | {len(behind)} if len(behind) in waiting else needed)
    largest = sorted(open_now, key=lambda position: -waiting[position])[:most]
    return [Bottleneck(fact=facts[position], waiting=waiting[position]) for position in largest if waiting[position]]
