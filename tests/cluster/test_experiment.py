"""What a user of Ray Tune finds: ExperimentAnalysis opens the folder in a process without nrf_ray, one row a trial."""

import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.cluster_utils import Cluster
from ray.train._internal.storage import StorageContext
from ray.tune.experiment import Trial
from ray.tune.result import AUTO_RESULT_KEYS
from rich.console import Console

from nrf_ray.cluster import experiment
from nrf_ray.cluster.experiment import OURS, Experiment, as_results
from nrf_ray.cluster.run import run_sweep
from nrf_ray.errors import StoreFailed
from nrf_ray.graph.blobs import Blobs
from nrf_ray.graph.plan import make_plan
from nrf_ray.graph.store import Store
from nrf_ray.sweep.stage_facts import FACTS
from tests.cluster.toys import Toy, sweep_of, toy, wait_for

READ = """
import sys
sys.modules["nrf_ray"] = None
from ray.tune import ExperimentAnalysis
found = ExperimentAnalysis(sys.argv[1])
frame = found.dataframe()
print(frame.drop(columns="logdir").to_json(orient="records"))
print(len(found.trials))
"""


def opened(folder: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the rows and the number of trials that Tune itself finds in `folder`, in a fresh process elsewhere."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [sys.executable, "-c", READ, str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, cwd="/", env=environment, check=False)
    assert done.returncode == 0, done.stderr
    rows, count = done.stdout.splitlines()[-2:]
    return json.loads(rows), int(count)


def trial(root: Path, number: int, **config: object) -> Trial:
    """Return a trial that no Ray has run."""
    storage = StorageContext(
        storage_path=str(root / "staging"), experiment_dir_name="toys", trial_dir_name=f"t{number}"
    )
    made = Trial("toys", stub=True, trial_id=f"{number:05d}", storage=storage, config=config)
    made.placement_group_factory = tune.PlacementGroupFactory([{"CPU": 1}])
    made.set_status(Trial.TERMINATED)
    return made


def result(of: Trial, **more: object) -> dict[str, Any]:
    """Return a result as Tune hands it to callbacks, and note it in the trial as Tune does."""
    told = {"trial_id": of.trial_id, "config": of.config, "done": True, "training_iteration": 1, **more}
    of.update_last_result(told)
    return told


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(str(tmp_path / "store"), create=True)


def test_tune_opens_what_was_written_also_after_it_was_moved(blobs: Blobs, tmp_path: Path) -> None:
    trials = [trial(tmp_path, n, kind="train", norm=None, epsilon=n / 2, seed=n) for n in range(3)]
    with Experiment(blobs, "sweeps/toys/tune", pytest.fail) as written:
        for n, one in enumerate(trials[:2]):
            written.on_trial_result(n, trials, one, result(one, clean_accuracy=n / 4, **{"black-box/only": 0.5}))
        written.on_trial_error(2, trials, trials[2])
        written.on_step_end(3, trials)
    moved = shutil.copytree(tmp_path / "store" / "sweeps" / "toys" / "tune", tmp_path / "elsewhere" / "mine")
    rows, count = opened(moved)
    assert count == 3
    told = [(row["clean_accuracy"], row["config/epsilon"], row["config/seed"], row.get("end")) for row in rows]
    assert told == [(0.0, 0.0, 0, None), (0.25, 0.5, 1, None), (None, 1.0, 2, "error")]
    assert {row["config/kind"] for row in rows} == {"train"}
    assert "config/norm" in rows[0], "a value that no trial has is a column too"


def test_a_later_run_is_what_the_folder_opens_and_the_earlier_one_stays(blobs: Blobs, tmp_path: Path) -> None:
    for number in (1, 2):
        one = trial(tmp_path, number, seed=number)
        with Experiment(blobs, "tune", pytest.fail) as written:
            written._state = f"experiment_state-{number}.json"
            written.on_trial_result(1, [one], one, result(one))
            written.on_step_end(1, [one])
    folder = tmp_path / "store" / "tune"
    assert list(tune.ExperimentAnalysis(str(folder)).dataframe()["config/seed"]) == [2]
    earlier = tune.ExperimentAnalysis(str(folder / "experiment_state-1.json"))
    assert list(earlier.dataframe()["config/seed"]) == [1]


def test_it_is_saved_while_the_run_goes_on(blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "SAVE_SECONDS", 0.05)
    one = trial(tmp_path, 1, seed=1)
    written = Experiment(blobs, "tune", pytest.fail)
    written.on_trial_result(1, [one], one, result(one))
    written.on_step_end(1, [one])
    assert blobs.under() == [], "not due yet"
    time.sleep(0.06)
    written.on_step_end(2, [one])
    wait_for(lambda: len(blobs.under()) == 2, "it was not saved")
    frame = tune.ExperimentAnalysis(str(tmp_path / "store" / "tune")).dataframe()
    assert list(frame["config/seed"]) == [1]


def test_a_run_without_trials_writes_nothing(blobs: Blobs) -> None:
    with Experiment(blobs, "tune", pytest.fail) as written:
        written.on_step_end(1, [])
    assert blobs.under() == []


def test_a_disk_that_is_full_is_said_once_and_stops_nothing(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(name: str, data: bytes) -> None:
        raise StoreFailed("the disk is full")

    monkeypatch.setattr(blobs, "replace", full)
    monkeypatch.setattr(experiment, "SAVE_SECONDS", 0.0)
    said: list[str] = []
    one = trial(tmp_path, 1)
    with Experiment(blobs, "tune", said.append) as written:
        for step in range(2):
            written.on_trial_result(step, [one], one, result(one))
            written.on_step_end(step, [one])
            wait_for(lambda: not written._writer.is_alive(), "the thread did not end")
    assert said == ["cannot write the trials for Ray Tune; the run continues without: StoreFailed: the disk is full"]


@pytest.mark.parametrize("name", sorted({*OURS, *AUTO_RESULT_KEYS}))
def test_no_metric_takes_the_place_of_what_tune_or_the_searcher_reads(name: str) -> None:
    assert as_results({name: 1, "clean_accuracy": 0.5}) == {f"stage/{name}": 1, "clean_accuracy": 0.5}


@pytest.mark.slow
def test_a_run_on_ray_leaves_an_experiment_with_metrics_and_failures(
    two_cpus: Cluster, store: Store, tmp_path: Path
) -> None:
    first = toy(Toy(name="first"))
    sweep = sweep_of(first, toy(Toy(name="second"), first=first), toy(Toy(name="fails", fault="raises")))
    run_sweep(
        sweep,
        make_plan(sweep.goals, store),
        store,
        address=two_cpus.address,
        log=tmp_path / "logs" / "ray.log",
        console=Console(file=io.StringIO(), width=200),
    )
    folder = store.blobs.root / "sweeps" / "toys" / "tune"
    rows, count = opened(folder)
    assert count == 3
    ends = sorted((row["config/label"], row["end"], row["value"]) for row in rows)
    assert ends == sorted(
        (s.title, *end) for s, end in zip(sweep.goals, [("done", 1), ("done", 2), ("error", None)], strict=True)
    )
    assert {f"config/{name}" for name in FACTS} <= set(rows[0])
    assert tune.ExperimentAnalysis(str(folder)).dataframe().shape[0] == 3
