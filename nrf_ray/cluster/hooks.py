"""What Tune tells us, passed on to the searcher.

`Schedule` is the scheduler that lets warm actors be shared: one that names the next trial makes Tune throw away the
actor that is just starting for it, and everything runs on one. It also sees why a trial fails before the searcher
hears that it did, and takes back what waits for room that a lost node took with it.
"""

from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

from nrf_ray.cluster.search import StageSearcher


class Schedule(FIFOScheduler):  # type: ignore[misc]  # ray has no types
    """Names no trial to run, so that Tune starts all that are pending and gives freed actors to any of them."""

    def __init__(self, searcher: StageSearcher) -> None:
        super().__init__()
        self._searcher = searcher

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Return None; take trials back that have become too large for the cluster."""
        too_large = self._searcher.too_large()
        for trial in list(tune_controller.get_live_trials()) if too_large else ():
            if trial.trial_id in too_large:
                tune_controller.stop_trial(trial)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Pass on why; Tune tells the searcher only that."""
        self._searcher.raised(trial.trial_id, Path(trial.error_file).read_text(encoding="utf-8"))


class StartWatch(Callback):  # type: ignore[misc]
    """Tells the searcher when a trial has got its resources."""

    def __init__(self, searcher: StageSearcher) -> None:
        self._searcher = searcher

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Pass it on."""
        self._searcher.started(trial.trial_id)
