"""A sweep through a real Ray with its store in a bucket, on a real S3 server: run, damaged, and run again."""

import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from nrf_ray.cluster.run import run_sweep
from nrf_ray.graph.garbage import collect, find
from nrf_ray.graph.plan import make_plan
from nrf_ray.graph.store import Store, place_of
from nrf_ray.results.write import write_tables
from tests.cluster.conftest import StartCluster
from tests.cluster.toys import Toy, sweep_of, toy, wide
from tests.graph import s3


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sweep_runs_on_a_store_in_a_bucket(
    start: StartCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    source = toy(Toy(name="source"))
    students = [toy(Toy(name=f"student {n}"), first=source) for n in range(5)]
    sweep = sweep_of(*students, wide(Toy(name="shards", num_shards=4), first=source))
    with s3.running() as address:
        for name, value in s3.environment(address).items():
            monkeypatch.setenv(name, value)
        store, cluster = Store.open(f"s3://{s3.BUCKET}/runs", create=True), start(num_cpus=2)

        def run() -> None:
            plan, log = make_plan(sweep.goals, store), tmp_path / "logs" / "ray.log"
            run_sweep(sweep, plan, store, address=cluster.address, log=log, console=Console(file=io.StringIO()))
            write_tables(sweep, store)

        run()
        assert make_plan(sweep.goals, store).todo() == []
        tables = {name: store.blobs.get(name) for name in ("sweeps/toys/toys.parquet",)}
        assert None not in tables.values()
        damaged = students[0]
        store.blobs.replace(place_of(damaged).file("value.txt"), b"other")
        assert store.problems(store.artifact(damaged).record) != []
        store.quarantine(store.artifact(damaged).record)
        run()
        assert {name: store.blobs.get(name) for name in tables} == tables
        assert {blob.name.partition("/")[0] for blob in find(store)} == {"quarantine", "toy"}
        assert collect(store)[1] == []
        assert find(store) == []
