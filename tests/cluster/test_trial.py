"""What a trial says of its stage, without Ray: what it did itself, and what it found done."""

import subprocess
import sys
from pathlib import Path

import pytest

from nrf_ray.cluster import trial
from nrf_ray.cluster.capacity import Capacity, Node
from nrf_ray.cluster.reports import Channel
from nrf_ray.cluster.search import StageSearcher
from nrf_ray.cluster.trial import Job, StageTrial
from nrf_ray.graph.execute import Context, work
from nrf_ray.graph.frontier import Frontier
from nrf_ray.graph.lease import Leases
from nrf_ray.graph.record import Record
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import Store
from tests.cluster.toys import Toy, toy


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the name and the counters of this process alone."""
    monkeypatch.setattr(trial, "title_process", lambda title: None)
    monkeypatch.setattr(trial, "meter_process", lambda sweep: None)


def begun(stage: Stage, store: Store, curves: str | None = None) -> StageTrial:
    """Return a trial that has `stage` to run."""
    job = Job(
        sweep="toys", store_uri=store.uri, stages={stage.key: stage}, curves=curves, crashes=None, channel=Channel()
    )
    made = StageTrial.__new__(StageTrial)
    made._trial_info = None
    made.setup({"key": stage.key, "actors": 0}, job=job)
    return made


def test_the_driver_does_without_torch() -> None:
    """Regression: it was imported with what writes learning curves, for 5 s of each start; so in every process."""
    code = "import sys, nrf_ray.cluster.run; print(sorted({'torch', 'tensorboardX', 'boto3'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_what_writes_curves_is_there_before_the_clock_of_a_stage_runs(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loaded: list[bool] = []
    monkeypatch.setattr(trial, "load_writer", lambda: loaded.append(True))
    begun(toy(Toy(name="without curves")), store)
    assert loaded == []
    begun(toy(Toy(name="with")), store, curves=str(tmp_path))
    assert loaded == [True]


def test_of_two_drivers_each_counts_its_own_work(store: Store) -> None:
    """Regression: each said that it had done what the other did, so that its slots worked more than all the time."""
    stages = [toy(Toy(name=str(n), seconds=0.02)) for n in range(2)]
    nodes = {"a": Node(2, 0)}
    with Leases(store) as one, Leases(store) as two:
        searchers = [StageSearcher(Frontier(stages), store, held, Capacity(lambda: nodes)) for held in (one, two)]
        assert isinstance(searchers[0].suggest("first"), dict)
        assert isinstance(searchers[1].suggest("second"), dict)
        for searcher, name, stage in zip(searchers, ("first", "second"), stages, strict=True):
            searcher.on_trial_complete(name, begun(stage, store).step())
        for searcher, name, stage in zip(searchers, ("third", "fourth"), reversed(stages), strict=True):
            assert isinstance(searcher.suggest(name), dict)
            searcher.on_trial_complete(name, begun(stage, store).step())
        assert all(searcher.frontier.finished for searcher in searchers)
    assert [list(searcher.seconds) for searcher in searchers] == [[stage.key] for stage in stages]
    assert all(seconds >= 0.02 for searcher in searchers for seconds in searcher.seconds.values())


def test_a_trial_brings_the_datasets_of_its_stage_before_the_work(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def noted(context: Context) -> Record:
        done.append(f"work on {context.stage.key}")
        return work(context)

    monkeypatch.setattr(trial, "bring", lambda stage, blobs: done.append(f"bring {stage.key} from {blobs.uri}"))
    monkeypatch.setattr(trial, "work", noted)
    stage = toy(Toy(name="one"))
    begun(stage, store).step()
    assert done == [f"bring {stage.key} from {store.uri}", f"work on {stage.key}"]
