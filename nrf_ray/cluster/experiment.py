"""The trials of a run as an experiment of Ray Tune, in `<store>/sweeps/<sweep>/tune/`, for people who know Tune.

`ray.tune.ExperimentAnalysis` of the same Ray opens the folder, also after it was moved, in a process without nrf_ray;
its table has one row a trial. It opens the last run; earlier runs have a state file of their own in the folder. State
files have objects that Tune has pickled, so open only folders of people whom you trust. nrf_ray never reads the folder:
a run is resumed by the store alone.

Tune would copy a whole experiment to its folder each time, and would need access of its own to an object store. So the
files that `ExperimentAnalysis` reads are written here, through the store: one file for each trial when it is done, and
the state of all of them. A thread writes them, at least every minute and when the run ends. If that fails, the run says
so once and continues.
"""

import json
import threading
import time
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.result import AUTO_RESULT_KEYS

from nrf_ray.graph.blobs import Blobs
from nrf_ray.graph.execute import summary_of
from nrf_ray.graph.stage import Metrics

SAVE_SECONDS = 30.0
"""Seconds between two states of the experiment, unless a state takes so long that it would be more than 1/SHARE of the
time."""
SHARE = 20
OURS = ("end", "seconds", "first", "error", "done", "trial_id", "experiment_tag")
"""Names in a trial's result that no metric has."""


def as_results(metrics: Metrics) -> dict[str, Any]:
    """Return the metrics of a stage as results of a trial: a name that Tune or nrf_ray uses itself gets a prefix."""
    taken = {*OURS, *AUTO_RESULT_KEYS}
    return {f"stage/{name}" if name in taken else name: value for name, value in metrics.items()}


class Experiment(Callback):  # type: ignore[misc]  # ray has no types
    """Callback of Tune that writes the experiment into `folder` of a store; a context around the run."""

    def __init__(self, blobs: Blobs, folder: str, say: Callable[[str], None]) -> None:
        """`say` prints one line for the user."""
        self._blobs, self._folder, self._say = blobs, folder, say
        self._state = f"experiment_state-{time.strftime('%Y-%m-%d_%H-%M-%S')}-{uuid.uuid4().hex[:6]}.json"
        """Name of the state file. Of several, Tune opens the last by name."""
        self._started = time.time()
        self._trials: list[Trial] = []
        self._files: dict[str, bytes] = {}
        """Results that are not in the store yet, by name."""
        self._due = time.monotonic() + SAVE_SECONDS
        self._writer: threading.Thread | None = None
        self._failed = False

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **_: Any
    ) -> None:
        """Keep the result of a trial until it is written."""
        self._keep(trial, result)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """Keep that a trial ended with an error, which has no result."""
        told = {"trial_id": trial.trial_id, "done": True, "end": "error", "config": trial.config}
        self._keep(trial, told)

    def on_step_end(self, iteration: int, trials: list[Trial], **_: Any) -> None:
        """Write what is new, if that is due."""
        self._trials = trials
        if time.monotonic() >= self._due and self._files and not (self._writer and self._writer.is_alive()):
            self._due = time.monotonic() + SAVE_SECONDS
            self._writer = threading.Thread(target=self._write, args=self._taken(), daemon=True)
            self._writer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is new, now."""
        if self._writer is not None:
            self._writer.join()
        if self._trials and self._files:
            self._write(*self._taken())

    def _keep(self, trial: Trial, result: dict[str, Any]) -> None:
        name = f"{self._folder}/{trial.storage.trial_dir_name}/result.json"
        self._files[name] = json.dumps(result, default=str).encode() + b"\n"

    def _taken(self) -> tuple[dict[str, bytes], list[Any]]:
        """Return the results to write and the state of all trials; Tune keeps the text of a trial that is unchanged."""
        began, files, self._files = time.monotonic(), self._files, {}
        states = [trial.get_json_state() for trial in list(self._trials)]
        self._due = max(self._due, began + SHARE * (time.monotonic() - began))
        return files, states

    def _write(self, files: dict[str, bytes], states: list[Any]) -> None:
        """Write results, then the state that names them."""
        began = time.monotonic()
        state = {"trial_data": states, "runner_data": {}, "stats": {"start_time": self._started}}
        try:
            for name, data in files.items():
                self._blobs.replace(name, data)
            self._blobs.replace(f"{self._folder}/{self._state}", json.dumps(state).encode())
        except Exception as error:
            if not self._failed:
                self._say(f"cannot write the trials for Ray Tune; the run continues without: {summary_of(error)}")
            self._failed = True
        self._due = max(self._due, began + SHARE * (time.monotonic() - began))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its settings for a restore that never happens.
        return {}
