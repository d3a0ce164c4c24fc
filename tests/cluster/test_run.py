"""A real Ray on this machine runs toy graphs: placement, failure, retries, warm processes, shard pools."""

import io
import shlex
import socket
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster
from rich.console import Console

from nrf_ray.cluster import start_worker
from nrf_ray.cluster.address import check_address, check_listening
from nrf_ray.cluster.run import Outcome, run_sweep
from nrf_ray.errors import ClusterError, ConfigError
from nrf_ray.graph.attempts import lost_attempts
from nrf_ray.graph.execute import execute
from nrf_ray.graph.frontier import Progress
from nrf_ray.graph.plan import make_plan
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import FAILURE, Store, place_of
from nrf_ray.sweep.sweep import Sweep
from nrf_ray.tables.stages import stage_rows
from tests.cluster.toys import Toy, meeting, sweep_of, toy, wide


def run(sweep: Sweep, store: Store, cluster: Cluster, tmp_path: Path) -> Outcome:
    plan, log = make_plan(sweep.goals, store), tmp_path / "logs" / "ray.log"
    console = Console(file=io.StringIO(), width=200)
    return run_sweep(sweep, plan, store, address=cluster.address, log=log, console=console)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_graph_with_failures_runs_all_that_can_run(two_cpus: Cluster, store: Store, tmp_path: Path) -> None:
    source = toy(Toy(name="source"))
    sets = [toy(Toy(name=f"set {i}", seconds=0.2), first=source) for i in range(4)]
    students = [toy(Toy(name=f"student {i} {j}", seconds=0.2), first=s) for i, s in enumerate(sets) for j in range(5)]
    met = [meeting(Toy(name=f"met {i}", marker=str(tmp_path / "met"), meet=2)) for i in range(2)]
    raises = toy(Toy(name="raises", fault="raises"), first=source)
    blocked = toy(Toy(name="blocked"), first=raises, second=sets[0])
    blocked_too = toy(Toy(name="blocked too"), first=blocked)
    exits_once = toy(Toy(name="exits once", fault="exits once", marker=str(tmp_path / "marker")))
    segfaults = toy(Toy(name="segfaults", fault="segfaults"))
    exhausts = toy(Toy(name="exhausts memory", fault="exhausts memory"))
    shards = wide(Toy(name="shards", num_shards=6, marker=str(tmp_path / "shards met"), meet=2))
    bad_shard = wide(Toy(name="bad shard", num_shards=2, fault="raises"))
    sweep = sweep_of(*students, *met, blocked_too, exits_once, segfaults, exhausts, shards, bad_shard)

    outcome = run(sweep, store, two_cpus, tmp_path)

    frontier, state = outcome.frontier, outcome.frontier.state
    assert frontier.finished
    assert set(frontier.in_state(Progress.FAILED)) == {raises, segfaults, exhausts, bad_shard}
    assert set(frontier.in_state(Progress.BLOCKED)) == {blocked, blocked_too}
    assert all(state[s.key] is Progress.DONE for s in (source, *sets, *students, *met, exits_once, shards))
    assert all(store.artifact(s).record.metrics == {"value": 3} for s in students)

    said = {s: (frontier.errors[s.key], failure(store, s)) for s in (raises, segfaults, exhausts, bad_shard)}
    assert all(f"{s.kind.name}/{s.key}/failure.json)" in error for s, (error, _) in said.items()), "says where"
    assert all("misbehave" in trace for _, trace in said.values()), "a traceback of the stage, also of a crash"
    assert "ValueError: raises was told to fail" in said[raises][0]
    assert "ValueError: bad shard was told to fail" in said[bad_shard][0]
    assert "its process was lost 3 times: Fatal Python error: Segmentation fault" in said[segfaults][0]
    assert "MemoryError" in said[exhausts][0]
    lost = {raises: 1, segfaults: 3, exhausts: 1, bad_shard: 1, exits_once: 1}
    assert lost_attempts(store) == {s.key: count for s, count in lost.items()}, "only faults of the system are retried"
    rows = {row["label"]: row["attempts"] for row in stage_rows(sweep, store, frontier)}
    assert (rows[source.title], rows[exits_once.title], rows[segfaults.title], rows[blocked.title]) == (1, 2, 3, 0)

    processes = {store.artifact(s).record.provenance["pid"] for s in students}
    assert len(processes) < len(students), "processes must stay warm"
    assert len({store.artifact(s).record.provenance["pid"] for s in met}) == 2, "as many run at once as there are slots"
    makers = {store.artifact(shards).read(name) for name in store.artifact(shards).names()}
    assert len(makers) == outcome.slots == 2, "a pool of one actor a slot makes the shards"
    leftovers = [b.name for b in store.blobs.under() if b.name.endswith("lease.json") or b.name.startswith("drivers/")]
    assert leftovers == []
    assert not list((tmp_path / "logs" / "crashes").iterdir())
    assert started_by(two_cpus) == start_worker.__file__
    planned = {step.stage: (step.state.value, step.reason) for step in make_plan(sweep.goals, store).steps}
    assert planned[segfaults][0] == "failed before"
    assert planned[blocked] == ("blocked", f"by {raises.title}, which failed before")


def started_by(cluster: Cluster) -> str:
    """Return the program by which the head's raylet starts its processes."""
    (raylet,) = cluster.head_node.all_processes["raylet"]
    (command,) = (word for word in raylet.process.args if word.startswith("--python_worker_command="))
    return str(shlex.split(command)[1])


def failure(store: Store, stage: Stage) -> str:
    """Return the traceback that was kept of a stage that failed."""
    return str((store.blobs.get_json(place_of(stage).file(FAILURE)) or {})["traceback"])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_damaged_input_is_rebuilt_in_the_same_run(two_cpus: Cluster, store: Store, tmp_path: Path) -> None:
    root = toy(Toy(name="root"))
    execute(root, store)
    weights = tmp_path / "store" / "toy" / root.key / "value.txt"
    weights.write_bytes(b"X")

    outcome = run(sweep_of(toy(Toy(name="user"), first=root)), store, two_cpus, tmp_path)

    assert set(outcome.frontier.state.values()) == {Progress.DONE}
    assert store.artifact(root).read("value.txt") == b"1"
    assert len(store.blobs.folders("quarantine")) == 1


@pytest.mark.parametrize(
    ("address", "environment", "store", "message"),
    [
        pytest.param("http://127.0.0.1:8265", None, "/runs", "ray job submit", id="dashboard address"),
        pytest.param(None, "http://127.0.0.1:8265", "/runs", "unset RAY_ADDRESS", id="RAY_ADDRESS of a dashboard"),
        pytest.param("auto", None, "./runs", "absolute path that all nodes share", id="relative store on a cluster"),
    ],
)
def test_addresses_that_cannot_work_are_refused(
    address: str | None, environment: str | None, store: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if environment:
        monkeypatch.setenv("RAY_ADDRESS", environment)
    with pytest.raises(ConfigError, match=message):
        check_address(address, store)


def test_an_address_where_nothing_answers_is_refused_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ClusterError, match=f"nothing answers at {address}"):
        check_listening(address)


def test_without_an_address_ray_runs_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert check_address(None, "./runs") is None
    for address in ("10.0.0.1:6379", "[::1]:6379", "head.example:6379", "auto"):
        monkeypatch.setenv("RAY_ADDRESS", address)
        assert check_address(None, "s3://bucket/runs") == address
    assert check_address("auto", "~/runs") == "auto", "the home folder is no relative one"
    assert check_address("local", "./runs") is None


def test_an_empty_address_is_refused_and_a_password_in_one_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ConfigError, match="the address of the cluster is empty"):
        check_address("", "s3://bucket/runs")
    with pytest.raises(ConfigError) as caught:
        check_address("http://user:secret@head:8265", "s3://bucket/runs")
    assert "secret" not in str(caught.value)
    assert "***@head:8265" in str(caught.value)
