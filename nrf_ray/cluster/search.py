"""Tune's view of the graph: a searcher that hands out stages whose inputs are committed.

Tune asks for a trial whenever it could start one; the answer is a stage that is ready, "not yet", or "nothing can
follow". So whatever waits holds no resources. `NoChoice` is the scheduler that lets warm actors be shared: a scheduler
that names the next trial makes Tune throw away the actor that is just starting for it, and everything runs on one.
"""

import time
from typing import Any, Self

from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from nrf_ray.cluster.trial import BAD_INPUT, DONE
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.execute import to_rebuild
from nrf_ray.graph.frontier import Frontier
from nrf_ray.graph.lease import Leases
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import Store

POLL_SECONDS = 0.5


class StageSearcher(Searcher):  # type: ignore[misc]  # ray has no types
    """Hands out the stages of a frontier as trial configs, and takes note of how each ended."""

    def __init__(self, frontier: Frontier, store: Store, leases: Leases, wide: set[Key]) -> None:
        """`wide` are the stages that fill the cluster with actors: one at a time, and nothing else starts meanwhile."""
        super().__init__()
        self.frontier = frontier
        self.elsewhere: dict[Key, str] = {}
        """Stages that another run works on, and which."""
        self.live: dict[str, Stage] = {}
        self._store = store
        self._leases = leases
        self._wide = wide
        self._cap = 1
        self._starting: set[Key] = set()

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """There is no metric to optimise."""
        return True

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Take the cap on live trials over from Tune."""
        self._cap = max_concurrent
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the config of a ready stage, None for "not yet", or FINISHED."""
        while True:
            if self.frontier.finished:
                return str(Searcher.FINISHED)
            if len(self.live) >= self._cap or self._wide & self._starting:
                return None
            stage = self.frontier.next_ready(self._admit)
            if stage is not None:
                break
            if self.live:
                return None
            # Everything that is left is being done by other runs. Tune would stop asking; so wait for them here.
            time.sleep(POLL_SECONDS)
        self.live[trial_id] = stage
        self._starting.add(stage.key)
        return {"key": stage.key, "label": stage.title}

    def _admit(self, stage: Stage) -> bool:
        """Return whether `stage` may start now; take its lease if so."""
        if stage.key in self._wide and any(live.key in self._wide for live in self.live.values()):
            return False
        holder = self._leases.take(stage)
        if holder is None:
            self.elsewhere.pop(stage.key, None)
        else:
            self.elsewhere[stage.key] = holder
        return holder is None

    def started(self, trial_id: str) -> None:
        """Take note that a trial has its resources."""
        self._starting.discard(self.live[trial_id].key)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Take note of how a stage ended."""
        stage = self.live.pop(trial_id)
        self._starting.discard(stage.key)
        result = result or {}
        if not error and result.get("end") == DONE:
            self.frontier.done(stage.key)
        elif not error and result.get("end") == BAD_INPUT and (rebuild := to_rebuild(stage, self._store)):
            self.frontier.reopen(stage.key, rebuild)
        else:
            lost = "its process or node was lost, and again on every retry; see the Ray log"
            self.frontier.fail(stage.key, str(result.get("error", lost)))
        self._leases.release(stage)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: what is done stands in the store."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: a run is resumed by planning it again."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its settings for a restore that we never do; the frontier and its leases stay here.
        return {}


class NoChoice(FIFOScheduler):  # type: ignore[misc]
    """Names no trial to run, so that Tune starts all that are pending and gives freed actors to any of them."""

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Return None."""
        return


class StartWatch(Callback):  # type: ignore[misc]
    """Tells the searcher when a trial has got its resources."""

    def __init__(self, searcher: StageSearcher) -> None:
        self._searcher = searcher

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Pass it on."""
        self._searcher.started(trial.trial_id)
