"""What people watch a run with: names in Ray's dashboard, metrics for Prometheus, curves for TensorBoard."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.counting import ATTACKED, STEPS, TRAINED

ROOT = Path(__file__).resolve().parents[2]


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
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads((folder / "seen.json").read_text())
    return found


def test_actors_and_processes_carry_names_that_people_understand(seen: dict[str, Any]) -> None:
    assert {"stages of toys", "MapWorker(MapBatches(d_other l2 1,0 of Z?rich))"} <= set(seen["classes"])
    assert {"ray::counting: resnet_s on digits, seed 0", "ray::wide: d_other l2 1.0 of Zürich"} <= set(seen["titles"])
    assert any(title.startswith("ray::MapWorker(MapBatches(d_other l2 1,0 of Z?rich))") for title in seen["titles"])


def test_prometheus_reads_every_metric_by_its_exported_name(seen: dict[str, Any]) -> None:
    from nrf_ray.cluster.metrics import METRICS, exported

    kinds = {name: "counter" if exported(name).endswith("_total") else "gauge" for name in METRICS}
    assert set(seen["types"]) == {f"{exported(name)} {kind}" for name, kind in kinds.items()}


def test_the_stages_of_a_run_are_counted_by_kind_and_state(seen: dict[str, Any]) -> None:
    samples = seen["samples"]
    for kind in ("counting", "wide"):
        assert samples[f"ray_nrf_stages sweep=toys kind={kind} state=running"] == 1
        assert samples[f"ray_nrf_stages sweep=toys kind={kind} state=failed"] == 0
    assert samples["ray_nrf_stages sweep=toys kind=counting state=done"] == 1
    assert 2 in seen["totals"], "all states together are all stages"
    assert samples["ray_nrf_cache_hits_total sweep=toys kind=toy"] == 1


def test_work_is_counted_where_it_is_done(seen: dict[str, Any]) -> None:
    samples = seen["samples"]
    assert samples["ray_nrf_shards_total sweep=toys"] == 2
    assert samples["ray_nrf_images_total sweep=toys work=trained"] == TRAINED
    assert samples["ray_nrf_images_total sweep=toys work=attacked"] == ATTACKED
    assert samples["ray_nrf_pgd_steps_total sweep=toys"] == STEPS
