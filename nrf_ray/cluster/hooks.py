"""Hooks of Tune, which pass events on to the searcher.

`Schedule` is a scheduler that lets warm actors be shared. If a scheduler names the next trial, Tune discards the actor
that is just starting for it, and all trials run on one actor. `Schedule` also gets the error of a trial before the
searcher hears that the trial failed, and takes back trials that wait for room that was lost with a node.
"""

from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

from nrf_ray.cluster.search import StageSearcher


class Schedule(FIFOScheduler):  # type: ignore[misc]  # ray has no types
    """Scheduler that names no trial, so that Tune starts all pending trials and gives freed actors to any of them."""

    def __init__(self, searcher: StageSearcher) -> None:
        super().__init__()
        self._searcher = searcher

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Return None; take back trials that have become too large for the cluster."""
        too_large = self._searcher.too_large()
        for trial in list(tune_controller.get_live_trials()) if too_large else ():
            if trial.trial_id in too_large:
                tune_controller.stop_trial(trial)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Pass the error on; Tune tells the searcher only that the trial failed."""
        self._searcher.raised(trial.trial_id, Path(trial.error_file).read_text(encoding="utf-8"))


class StartWatch(Callback):  # type: ignore[misc]
    """Callback that tells the searcher when a trial has got its resources."""

    def __init__(self, searcher: StageSearcher) -> None:
        self._searcher = searcher

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Tell the searcher that `trial` has started."""
        self._searcher.started(trial.trial_id)
