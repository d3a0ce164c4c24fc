"""What people watch a run with: names in Ray's dashboard, metrics for Prometheus, curves for TensorBoard."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nrf_ray.graph.frontier import Frontier
from nrf_ray.graph.store import Store
from tests.cluster.counting import ATTACKED, STEPS, TRAINED, Counting, counting
from tests.cluster.toys import Toy, sweep_of, toy, wide

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(700)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `tests.cluster.watched` saw of a run on a cluster with token authentication, a dashboard and metrics."""
    folder = tmp_path_factory.mktemp("watched")
    environment = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "PYTHONWARNINGS")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.cluster.watched", str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads((folder / "seen.json").read_text())
    return found


@pytest.mark.slow
def test_actors_and_processes_carry_names_that_people_understand(seen: dict[str, Any]) -> None:
    assert {"stages of toys", "MapWorker(MapBatches(d_other l2 1,0 of Z?rich))"} <= set(seen["classes"])
    assert {"ray::counting: resnet_s on digits, seed 0", "ray::wide: d_other l2 1.0 of Zürich"} <= set(seen["titles"])
    assert any(title.startswith("ray::MapWorker(MapBatches(d_other l2 1,0 of Z?rich))") for title in seen["titles"])


@pytest.mark.slow
def test_prometheus_reads_every_metric_by_its_exported_name(seen: dict[str, Any]) -> None:
    from nrf_ray.cluster.metrics import METRICS, exported

    kinds = {name: "counter" if exported(name).endswith("_total") else "gauge" for name in METRICS}
    assert set(seen["types"]) == {f"{exported(name)} {kind}" for name, kind in kinds.items()}


@pytest.mark.slow
def test_the_stages_of_a_run_are_counted_by_kind_and_state(seen: dict[str, Any]) -> None:
    samples = seen["samples"]
    for kind in ("counting", "wide"):
        assert samples[f"ray_nrf_stages sweep=toys kind={kind} state=running"] == 1
        assert samples[f"ray_nrf_stages sweep=toys kind={kind} state=failed"] == 0
    assert samples["ray_nrf_stages sweep=toys kind=wide state=done"] == 1
    assert 2 in seen["totals"], "all states together are all stages"
    assert samples["ray_nrf_cache_hits_total sweep=toys kind=toy"] == 1


@pytest.mark.slow
def test_work_is_counted_where_it_is_done(seen: dict[str, Any]) -> None:
    samples = seen["samples"]
    assert samples["ray_nrf_shards_total sweep=toys"] == 2
    assert samples["ray_nrf_images_total sweep=toys work=trained"] == TRAINED
    assert samples["ray_nrf_images_total sweep=toys work=attacked"] == ATTACKED
    assert samples["ray_nrf_pgd_steps_total sweep=toys"] == STEPS


@pytest.mark.slow
def test_the_doctor_sees_what_the_cluster_has(seen: dict[str, Any]) -> None:
    survey = seen["survey"]
    assert [(node["cpus"], node["gpus"], node["kind"]) for node in survey["nodes"]] == [(3, 0, "")]
    assert survey["dashboard"].startswith("127.0.0.1:")


def test_curves_are_read_by_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from nrf_ray.cluster.curves import CurveWriter

    stage = counting(Counting(name="curves")).named("resnet_s on d_other l2 1.0, seed 0")
    for first in (1, 3):  # a training that was cut off goes on in the same folder, later
        monkeypatch.setattr("time.time", lambda second=first: 1e9 + second)
        with CurveWriter(str(tmp_path), stage) as curve:
            for epoch in (first, first + 1):
                curve(epoch, {"train/loss": 1 / epoch, "train/accuracy": epoch / 8})
    (folder,) = tmp_path.iterdir()
    assert folder.name == f"resnet_s_on_d_other_l2_1.0_seed_0-{stage.key[:8]}"
    found = EventAccumulator(str(folder))
    found.Reload()
    assert found.Tags()["scalars"] == ["train/loss", "train/accuracy"]
    monkeypatch.undo()
    points = [(event.step, round(event.value, 3)) for event in found.Scalars("train/accuracy")]
    assert points == [(1, 0.125), (2, 0.25), (3, 0.375), (4, 0.5)]


def test_shards_are_those_of_sets_and_of_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    from nrf_ray.cluster import metrics
    from nrf_ray.graph.plan import Plan
    from tests.graph.toys import node

    made: list[float] = []

    class Silent:
        def set(self, value: float, labels: dict[str, str]) -> None: ...

        def inc(self, value: float, labels: dict[str, str]) -> None:
            made.append(value)

    monkeypatch.setattr(metrics, "_metric", lambda name: Silent())
    stages = [node("a model"), wide(Toy(name="a set", num_shards=5)), wide(Toy(name="a small set", num_shards=1))]
    frontier = Frontier(stages)
    with metrics.stage_metrics("toys", Plan(()), frontier):
        for stage in stages:
            frontier.done(stage.key)
    assert sum(made) == 6


def test_two_processes_that_start_in_one_second_keep_a_file_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nrf_ray.cluster.curves import CurveWriter

    monkeypatch.setattr("time.time", lambda: 1e9)
    for _ in range(2):
        with CurveWriter(str(tmp_path), counting(Counting(name="twice"))) as curve:
            curve(1, {"train/loss": 1.0})
    assert len(list(tmp_path.glob("*/events.*"))) == 2


def test_a_stage_that_reports_nothing_leaves_no_folder(tmp_path: Path) -> None:
    from nrf_ray.cluster.curves import CurveWriter

    with CurveWriter(str(tmp_path), counting(Counting(name="silent"))):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_line_is_a_command_and_an_object_store_says_why_it_has_none(in_memory: str) -> None:
    from nrf_ray.cluster.curves import curves_folder, curves_line

    sweep = sweep_of(toy(Toy(name="one")))
    assert curves_line("/a store/tensorboard") == "learning curves: tensorboard --logdir '/a store/tensorboard'"
    assert "an object store cannot append" in curves_line(curves_folder(sweep, Store.open(in_memory, create=True)))
