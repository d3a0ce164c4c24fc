"""A real Ray on this machine runs toy graphs: placement, failure, retries, warm processes, shard pools."""

import io
import socket
from pathlib import Path

import pytest
from rich.console import Console

from nrf_ray.cluster.run import Outcome, run_sweep
from nrf_ray.cluster.session import Cluster, check_address, check_listening
from nrf_ray.errors import ClusterError, ConfigError
from nrf_ray.graph.frontier import Progress
from nrf_ray.graph.plan import make_plan
from nrf_ray.graph.stage import Resources
from nrf_ray.graph.store import Store
from nrf_ray.sweep import Sweep
from tests.cluster.toys import Toy, sweep_of, toy, wide


def run(sweep: Sweep, store: Store, tmp_path: Path) -> tuple[Outcome, str]:
    out = io.StringIO()
    plan = make_plan(sweep.goals, store)
    console = Console(file=out, width=200)
    outcome = run_sweep(sweep, plan, store, address=None, log=tmp_path / "logs" / "ray.log", console=console)
    return outcome, out.getvalue()


def test_a_graph_with_failures_runs_all_that_can_run(tmp_path: Path) -> None:
    source = toy(Toy(name="source"))
    sets = [toy(Toy(name=f"set {i}", seconds=0.2), first=source) for i in range(4)]
    students = [toy(Toy(name=f"student {i} {j}", seconds=0.2), first=s) for i, s in enumerate(sets) for j in range(5)]
    fails = toy(Toy(name="fails", raises=True), first=source)
    blocked = toy(Toy(name="blocked"), first=fails, second=sets[0])
    blocked_too = toy(Toy(name="blocked too"), first=blocked)
    dies = toy(Toy(name="dies", dies=True))
    shards = wide(Toy(name="shards", num_shards=6, seconds=0.2))
    sweep = sweep_of(*students, blocked_too, dies, shards)
    store = Store.open(str(tmp_path / "store"), create=True)

    outcome, _ = run(sweep, store, tmp_path)

    state = outcome.frontier.state
    assert {s.config.name for s in outcome.frontier.in_state(Progress.FAILED)} == {"fails", "dies"}
    assert {s.config.name for s in outcome.frontier.in_state(Progress.BLOCKED)} == {"blocked", "blocked too"}
    assert all(state[s.key] is Progress.DONE for s in (source, *sets, *students, shards))
    assert "ValueError: fails was told to fail" in outcome.frontier.errors[fails.key]
    assert "process or node was lost" in outcome.frontier.errors[dies.key]
    assert all(store.artifact(s).record.metrics == {"value": 3} for s in students)
    processes = {store.artifact(s).record.provenance["pid"] for s in students}
    assert len(processes) >= min(2, outcome.slots), "warm actors must not all run on one process"
    assert len(processes) < len(students), "processes must stay warm"
    makers = {store.artifact(shards).read(name) for name in store.artifact(shards).names()}
    assert len(makers) == min(6, outcome.slots), "a pool of one actor a slot makes the shards"
    leftovers = [b.name for b in store.blobs.under() if b.name.endswith("lease.json") or b.name.startswith("drivers/")]
    assert leftovers == []
    assert "failed before" in {step.state for step in make_plan(sweep.goals, store).steps}


def test_a_damaged_input_is_rebuilt_in_the_same_run(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"), create=True)
    root = toy(Toy(name="root"))
    run(sweep_of(root), store, tmp_path)
    weights = tmp_path / "store" / "toy" / root.key / "value.txt"
    weights.write_bytes(b"X")

    outcome, _ = run(sweep_of(toy(Toy(name="user"), first=root)), store, tmp_path)

    assert set(outcome.frontier.state.values()) == {Progress.DONE}
    assert weights.read_bytes() == b"1"
    assert len(store.blobs.folders("quarantine")) == 1


@pytest.mark.parametrize(
    ("request_", "slots"),
    [
        pytest.param(Resources(cpus=1), 6, id="one CPU"),
        pytest.param(Resources(cpus=4), 1, id="no node is cut in two"),
        pytest.param(Resources(cpus=1, gpus=0.5), 2, id="two share a GPU"),
        pytest.param(Resources(cpus=1, gpus=2), 0, id="two GPUs are nowhere"),
    ],
)
def test_slots_are_counted_node_by_node(request_: Resources, slots: int) -> None:
    assert Cluster(nodes=((4, 1), (2, 0)), dashboard=None).slots(request_) == slots


def test_a_request_that_no_node_can_meet_names_what_there_is() -> None:
    with pytest.raises(ClusterError, match=r"asks for 1 CPUs and 2 GPUs.*largest: 4 CPUs and 1 GPUs.*--gpus-per-trial"):
        Cluster(nodes=((4, 1), (2, 0)), dashboard=None).check_can_meet(Resources(cpus=1, gpus=2))


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
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert check_address(None, "s3://bucket/runs") == "10.0.0.1:6379"
