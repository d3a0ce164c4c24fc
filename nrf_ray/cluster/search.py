"""Tune's view of the graph: a searcher that hands out stages whose inputs are committed.

Tune asks for a trial whenever it could start one; the answer is a ready stage, "not yet", or "no more". So waiting
stages hold no resources. The number of stages handed out follows the resources of the cluster at that moment.

The searcher also decides what follows the end of a stage. A stage that raised has failed. A stage whose process was
lost is handed out again, a few times; a stage whose node was lost, more often, since that is seldom the stage's fault.
"""

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, Self

from ray.tune.search import Searcher

from nrf_ray.cluster.capacity import Capacity
from nrf_ray.cluster.crash import take_trace
from nrf_ray.cluster.trial import BAD_INPUT, DONE, StageRaised
from nrf_ray.graph.attempts import note_lost
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.execute import to_rebuild
from nrf_ray.graph.frontier import Frontier
from nrf_ray.graph.headway import Headway
from nrf_ray.graph.lease import Leases
from nrf_ray.graph.pools import width
from nrf_ray.graph.schedule import ahead_of
from nrf_ray.graph.stage import Resources, Stage, workers_of
from nrf_ray.graph.store import Store

POLL_SECONDS = 0.5
RAISED = f"{StageRaised.__module__}.{StageRaised.__qualname__}: "
"""Start of the last line of an error that a stage raised."""
NO_MEMORY = "running low on memory"
"""Text in Ray's error for a process that it ended because memory was low."""
MAX_RETRIES = 2
"""Number of times that a stage whose process was lost is handed out again."""
MAX_MOVES = 10
"""The same for a stage whose node was lost; limited, because the stage itself may bring its nodes down."""


class StageSearcher(Searcher):  # type: ignore[misc]  # ray has no types
    """Searcher that hands out the stages of a frontier as trial configs, and notes how each ended."""

    def __init__(
        self,
        frontier: Frontier,
        store: Store,
        leases: Leases,
        capacity: Capacity,
        crashes: str | None = None,
        facts: Mapping[Key, Mapping[str, Any]] | None = None,
    ) -> None:
        """Start with no trials.

        `crashes` is the folder into which crashed processes write their tracebacks; `facts` has what a stage's config
        in Tune says of it, for people.
        """
        super().__init__()
        self.frontier = frontier
        self.elsewhere: dict[Key, str] = {}
        """Stages that another run works on, and which run that is."""
        self.live: dict[str, Stage] = {}
        """Stages that are handed out, by trial id."""
        self.reports: dict[str, Headway] = {}
        """Last report of each trial that has made one, by trial id."""
        self.seconds: dict[Key, float] = {}
        """Seconds of work of each stage that this run did, counted like its cost: shards one after another."""
        self.firsts: set[Key] = set()
        """Stages in `seconds` that were the first of their process."""
        self.first_start: float | None = None
        """Time on the monotonic clock at which the first stage had its process."""
        self.last_end: float | None = None
        """Time on the monotonic clock at which the last stage ended."""
        self._store, self._leases, self._capacity, self._crashes = store, leases, capacity, crashes
        self._facts = facts or {}
        self._requests = {stage.resources for stage in frontier.stages.values()}
        self._pools: dict[str, int] = {}
        """Number of actors or workers of a trial, if more than one."""
        self._waiting: set[str] = set()
        """Trials that do not have their resources yet."""
        self._began: dict[str, float] = {}
        self._errors: dict[str, str] = {}
        """Ray's error, with the traceback, of each trial that ended with an error."""
        self._lost: Counter[Key] = Counter()
        self._moved: Counter[Key] = Counter()

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Return True: there is no metric to optimise."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the config of a ready stage, None for "not yet", or FINISHED."""
        while True:
            if self.frontier.finished:
                return str(Searcher.FINISHED)
            if self._waiting & self._pools.keys() or self._is_full():
                return None
            stage = self.frontier.next_ready(self._admit)
            if stage is not None:
                break
            if self.live:
                return None
            # Other runs are doing all the remaining stages. Tune would stop asking, so wait for them here.
            time.sleep(POLL_SECONDS)
        self.live[trial_id] = stage
        self._waiting.add(trial_id)
        self._began[trial_id] = self._capacity.moment()
        actors = width(stage, self.frontier, self._capacity.now().slots(stage.resources))
        if actors > 1:
            self._pools[trial_id] = actors
        return {
            **self._facts.get(stage.key, {}),
            "key": stage.key,
            "label": stage.title,
            "cpus": stage.resources.cpus,
            "gpus": stage.resources.gpus,
            "actors": self._pools.get(trial_id, 0),
        }

    def at_work(self) -> list[Stage]:
        """Return the stages that have a process, without those that only wait for one."""
        return [stage for trial_id, stage in list(self.live.items()) if trial_id not in self._waiting]

    def headway(self) -> dict[Key, Headway]:
        """Return the last report of each stage that has made one and is not done."""
        reports = dict(self.reports)
        return {stage.key: reports[trial] for trial, stage in list(self.live.items()) if trial in reports}

    def slots(self) -> int:
        """Return how many stages can run at once now."""
        return max(self._capacity.now().slots(request) for request in self._requests)

    def _is_full(self) -> bool:
        """Return whether no kind of request has room; then there is no need to ask the frontier."""
        return sum(map(self._held, self.live)) >= sum(map(self._room, self._requests))

    def _room(self, request: Resources) -> int:
        """Return how many slots of `request` may be handed out: those that can run, and a few that prepare to start."""
        slots = self._capacity.now().slots(request)
        return slots + ahead_of(slots)

    def _admit(self, stage: Stage) -> bool:
        """Return whether `stage` may start now; take its lease if so."""
        held = sum(self._held(trial) for trial, live in self.live.items() if live.resources == stage.resources)
        if held >= self._room(stage.resources):
            return False
        holder = self._leases.take(stage)
        if holder is not None:
            self.elsewhere[stage.key] = holder
            return False
        self.elsewhere.pop(stage.key, None)
        if self._leases.took_over(stage) and not self._store.has(stage):
            note_lost(self._store, stage)
        return True

    def _held(self, trial_id: str) -> int:
        """Return how many slots a trial has or waits for."""
        return self._pools.get(trial_id, 1)

    def started(self, trial_id: str) -> None:
        """Note that a trial has its resources."""
        self.first_start = self.first_start or time.monotonic()
        self._waiting.discard(trial_id)

    def raised(self, trial_id: str, error: str) -> None:
        """Note why a trial is about to end with an error."""
        self._errors[trial_id] = error

    def too_large(self) -> list[str]:
        """Return the trials that wait for more room than the cluster still has, because it lost nodes."""
        waiting = [(trial_id, self.live[trial_id]) for trial_id in self._waiting & self._pools.keys()]
        return [
            trial_id
            for trial_id, stage in waiting
            if workers_of(stage) == 1 and self._pools[trial_id] > max(1, self._capacity.now().slots(stage.resources))
        ]

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Note how a stage ended."""
        self.last_end = time.monotonic()
        stage = self.live.pop(trial_id)
        self._waiting.discard(trial_id)
        actors = self._pools.pop(trial_id, 1)
        began = self._began.pop(trial_id)
        if error:
            note_lost(self._store, stage)
            self._lose(stage, self._errors.pop(trial_id), began)
        elif result is None:  # it was taken back before it ran
            self.frontier.again(stage.key)
        elif result["end"] == BAD_INPUT:
            # Nothing is left to rebuild if another stage found the same damage first and it was rebuilt quickly.
            note_lost(self._store, stage)
            self.frontier.reopen(stage.key, to_rebuild(stage, self._store), str(result["error"]))
        elif result["end"] == DONE:
            if result["seconds"] is not None:
                pool = actors if workers_of(stage) == 1 else 1
                self.seconds[stage.key] = self.seconds.get(stage.key, 0.0) + result["seconds"] * pool
                if result.get("first"):
                    self.firsts.add(stage.key)
            self.frontier.done(stage.key)
        else:
            self.frontier.fail(stage.key, str(result["error"]))
        self._leases.release(stage)

    def _lose(self, stage: Stage, error: str, began: float) -> None:
        """Hand out a stage again whose trial ended with `error`, or note that the stage failed."""
        reason = error.rstrip().rpartition("\n")[2].strip()
        if reason.startswith(RAISED):
            self.frontier.fail(stage.key, reason.removeprefix(RAISED))
            return
        by_node = self._capacity.lost_a_node_since(began)
        count, limit = (self._moved, MAX_MOVES) if by_node else (self._lost, MAX_RETRIES)
        count[stage.key] += 1
        trace = take_trace(self._crashes, stage.key)
        if count[stage.key] <= limit:
            self.frontier.again(stage.key)
            return
        why = trace.partition("\n")[0] or reason.partition(" Some common causes")[0]
        if NO_MEMORY in error:
            why = "the memory of its node was nearly full, so Ray ended it; free memory, or run fewer programs there"
        summary = f"its {'node' if by_node else 'process'} was lost {limit + 1} times: {why}"
        path = self._store.note_failure(stage, summary, trace or error)
        self.frontier.fail(stage.key, f"{summary} ({path})")

    def stopped(self) -> None:
        """Note that the run ends early: the attempts in progress are lost."""
        for trial_id, stage in self.live.items():
            if trial_id not in self._waiting:
                note_lost(self._store, stage)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: finished work is in the store."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: a run is resumed by planning it again."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its settings for a restore that never happens; the frontier and its leases stay in this process.
        return {}
