"""The frontier: which stage may run next.

It holds the stages of a plan with their states and dependencies, and has nothing to do with processes or files. The
caller gets stages from `next_ready`, runs them, and reports how each ended. The ready stage that starts the longest
chain of work goes first. A failed stage blocks the stages that need it and no others.
"""

import enum
import heapq
from collections import Counter
from collections.abc import Callable, Mapping

from nrf_ray.graph.canonical import Key
from nrf_ray.graph.headway import Headway
from nrf_ray.graph.stage import Stage, shards_of, workers_of


class Progress(enum.StrEnum):
    """State of a stage in a run."""

    WAITING = "waiting"
    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    BLOCKED = "blocked"


OPEN = (Progress.WAITING, Progress.READY, Progress.RUNNING)
LEAST_DONE = 5.0
"""Expected seconds of finished work that are needed before the remaining time is estimated from it."""
MAX_REOPENED = 3
"""Times that a stage may find damaged inputs before it fails: a bad disk must not cause an endless loop."""


class Frontier:
    """States of the stages `todo` (inputs first); an input outside `todo` counts as done."""

    def __init__(self, todo: list[Stage], cost: Callable[[Stage], float] = Stage.cost) -> None:
        """Add `todo`; `cost` returns the expected seconds of a stage, used for the order, pool sizes and time left."""
        self._cost = cost
        self._seconds: dict[Key, float] = {}
        """Expected seconds of each stage."""
        self.stages: dict[Key, Stage] = {}
        self.state: dict[Key, Progress] = {}
        self.errors: dict[Key, str] = {}
        self._users: dict[Key, list[Key]] = {}
        self._path: dict[Key, float] = {}
        """Expected seconds of the longest chain from a stage to a goal, the stage included."""
        self._reopened: Counter[Key] = Counter()
        self._heap: list[tuple[float, int, Key]] = []
        self._open = 0
        self._left = 0.0
        self.longest_stage = 0.0
        """Expected seconds of the longest stage that is made in one piece."""
        self._add(todo)

    def _add(self, todo: list[Stage]) -> None:
        for stage in todo:
            self.stages.setdefault(stage.key, stage)
            for handle in stage.inputs.values():
                users = self._users.setdefault(handle.key, [])
                if stage.key not in users:
                    users.append(stage.key)
        for stage in reversed(todo):
            after = max((self._path.get(user, 0.0) for user in self._users.get(stage.key, [])), default=0.0)
            self._seconds[stage.key] = self._cost(stage)
            self._path[stage.key] = self._seconds[stage.key] + after
            if shards_of(stage) == 1:
                self.longest_stage = max(self.longest_stage, self._seconds[stage.key])
        for stage in todo:
            self._settle(stage.key)

    def _settle(self, key: Key) -> None:
        """Set an open stage to ready if all its inputs are done, else to waiting."""
        inputs = (self.state.get(handle.key, Progress.DONE) for handle in self.stages[key].inputs.values())
        if all(state is Progress.DONE for state in inputs):
            self._set(key, Progress.READY)
            heapq.heappush(self._heap, (-self._path[key], len(self._heap), key))
        else:
            self._set(key, Progress.WAITING)

    def _set(self, key: Key, state: Progress) -> None:
        opened = (state in OPEN) - (self.state.get(key) in OPEN)
        self._open += opened
        self._left += opened * self._work(key)
        self.state[key] = state

    def next_ready(self, admit: Callable[[Stage], bool] = lambda stage: True) -> Stage | None:
        """Mark the ready stage with the longest path that `admit` accepts as running; return it, or None if none is."""
        refused = []
        chosen = None
        while self._heap and chosen is None:
            entry = heapq.heappop(self._heap)
            if self.state[entry[2]] is not Progress.READY:
                continue
            if admit(self.stages[entry[2]]):
                chosen = self.stages[entry[2]]
                self._set(chosen.key, Progress.RUNNING)
            else:
                refused.append(entry)
        for entry in refused:
            heapq.heappush(self._heap, entry)
        return chosen

    def done(self, key: Key) -> None:
        """Mark a stage as done; stages that waited only for it become ready."""
        self._set(key, Progress.DONE)
        self.errors.pop(key, None)
        for user in self._users.get(key, []):
            if self.state[user] is Progress.WAITING:
                self._settle(user)

    def fail(self, key: Key, error: str) -> None:
        """Mark a stage as failed for good; block everything that needs it."""
        self._set(key, Progress.FAILED)
        self.errors[key] = error
        todo = list(self._users.get(key, []))
        while todo:
            user = todo.pop()
            if self.state[user] in (Progress.WAITING, Progress.READY):
                self._set(user, Progress.BLOCKED)
                self.errors[user] = f"needs {self.stages[key].title}, which failed"
                todo.extend(self._users.get(user, []))

    def again(self, key: Key) -> None:
        """Let the running stage `key`, which ended without being done, start again."""
        self._settle(key)

    def reopen(self, key: Key, rebuild: list[Stage], error: str) -> None:
        """Run `rebuild` (inputs first) before the running stage `key`, which found inputs damaged or missing.

        `error` is the stage's message; after `MAX_REOPENED` times the stage fails.

        Stages of `rebuild` that are waiting, ready or running stay as they are. Stages that use a rebuilt stage and
        have not started wait for it.
        """
        self._reopened[key] += 1
        if self._reopened[key] > MAX_REOPENED:
            self.fail(key, f"found damaged inputs {MAX_REOPENED} times; check the disk under the store ({error})")
            return
        self._trust_others(rebuild)
        self._add([stage for stage in rebuild if self.state.get(stage.key) not in OPEN])
        for stage in rebuild:
            for user in self._users.get(stage.key, []):
                if self.state[user] is Progress.READY:
                    self._set(user, Progress.WAITING)
        self._settle(key)

    def _trust_others(self, rebuild: list[Stage]) -> None:
        """Mark inputs of `rebuild` that failed or were blocked here and are not rebuilt as done: they are committed.

        Another run has committed them in the meantime; without this, the rebuilt stages would wait for them for ever.
        """
        rebuilt = {stage.key for stage in rebuild}
        for handle in (handle for stage in rebuild for handle in stage.inputs.values()):
            if handle.key not in rebuilt and self.state.get(handle.key) in (Progress.FAILED, Progress.BLOCKED):
                self.done(handle.key)

    def seconds(self, key: Key) -> float:
        """Return the expected seconds of a stage."""
        return self._seconds[key]

    def _work(self, key: Key) -> float:
        """Return the expected seconds of all workers of a stage."""
        return self._seconds[key] * workers_of(self.stages[key])

    def seconds_after(self, key: Key) -> float:
        """Return the expected seconds of the longest chain of stages that wait for `key`."""
        return self._path[key] - self._seconds[key]

    @property
    def seconds_left(self) -> float:
        """Expected seconds of all workers of the stages that may still run or are running."""
        return self._left

    def work_left(self, running: Mapping[Key, Headway]) -> float:
        """Return `seconds_left` without what the stages `running` have done of theirs."""
        return max(0.0, self._left - sum(told.share * self._work(key) for key, told in running.items()))

    def expected_left(self, elapsed: float, running: Mapping[Key, Headway] | None = None) -> float | None:
        """Return the estimated time left, or None while too little is done to tell.

        It is the expected seconds of the work left, scaled by `elapsed` over the expected seconds of the finished work;
        what the stages `running` have done counts. It is no shorter than any of them takes by its own pace.
        """
        running = running or {}
        done = sum(self._work(key) for key, state in list(self.state.items()) if state is Progress.DONE)
        done += sum((told.share - told.before) * self._work(key) for key, told in running.items())
        if done < LEAST_DONE:
            return None
        return max(self.work_left(running) * elapsed / done, *(told.left or 0.0 for told in running.values()), 0.0)

    @property
    def finished(self) -> bool:
        """Whether no stage can run any more."""
        return self._open == 0

    def in_state(self, *states: Progress) -> list[Stage]:
        """Return the stages that are in one of `states`."""
        return [self.stages[key] for key, state in self.state.items() if state in states]

    def counts(self) -> dict[str, Counter[Progress]]:
        """Return, for each kind of stage, how many are in each state."""
        table: dict[str, Counter[Progress]] = {}
        for key, stage in self.stages.items():
            table.setdefault(stage.kind.name, Counter())[self.state[key]] += 1
        return table
