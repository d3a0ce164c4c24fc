"""A stage of two workers, on a real Ray: in the trial's own bundles, beside other stages, and when one is lost."""

import io
from pathlib import Path

import pytest
from ray.train import WorkerGroupError
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback
from rich.console import Console

from nrf_ray.cluster.capacity import Cluster, Node
from nrf_ray.cluster.replicas import _cause
from nrf_ray.cluster.run import run_sweep
from nrf_ray.cluster.shards import PoolBroken, ShardRaised
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.errors import ClusterError, CorruptArtifact
from nrf_ray.graph.attempts import lost_attempts
from nrf_ray.graph.frontier import Progress
from nrf_ray.graph.plan import make_plan
from nrf_ray.graph.stage import Resources
from nrf_ray.graph.store import Store
from nrf_ray.recipes import Recipe
from nrf_ray.stages.train import TrainSpec, train
from nrf_ray.sweep import Sweep
from nrf_ray.tables import Measure, Row
from tests.cluster.toys import TOYS, Toy, sweep_of, together, toy

SPEC = TrainSpec(arch="vgg_s", dataset=dataset_named("digits").ref, recipe=Recipe(epochs=2, lr=0.05, workers=2), seed=0)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_stages_of_two_workers_run_among_others_and_go_on_when_a_worker_is_lost(tmp_path: Path) -> None:
    """A deadlock would show as the time-out: everything here wants the same two CPUs."""
    trained = train(SPEC)
    others = [toy(Toy(name=f"other {i}", seconds=0.2)) for i in range(6)]
    sums = together(Toy(name="sums", num_workers=2))
    raises = together(Toy(name="raises", num_workers=2, fault="raises"))
    exits_once = together(Toy(name="exits", num_workers=2, fault="exits once", marker=str(tmp_path / "marker")))
    facts = {"name": "trained", "key": trained.key}
    row = Row(table=TOYS, facts=facts, measures={"value": Measure(trained, "train_examples")})
    sweep = Sweep("toys", (*sweep_of(*others, sums, raises, exits_once).rows, row))
    store = Store.open(str(tmp_path / "store"), create=True)

    console = Console(file=io.StringIO(), width=200)
    log = tmp_path / "logs" / "ray.log"
    outcome = run_sweep(sweep, make_plan(sweep.goals, store), store, address=None, log=log, console=console)

    frontier = outcome.frontier
    assert set(frontier.in_state(Progress.FAILED)) == {raises}
    assert "ValueError: raises was told to fail" in frontier.errors[raises.key]
    assert store.artifact(sums).record.metrics["value"] == 3
    assert store.artifact(exits_once).record.metrics["value"] == 103, "the second attempt found the checkpoint"
    assert lost_attempts(store) == {exits_once.key: 1, raises.key: 1}
    measured = store.artifact(trained).record.metrics
    assert measured["train_examples"] == 1437
    assert float(str(measured["train_accuracy"])) > 0.5


def raised(error: Exception) -> UserExceptionWithTraceback:
    return UserExceptionWithTraceback(error, f"traceback of {error}")


COLLATERAL = RuntimeError("[../gloo/transport/tcp/pair.cc:547] Connection closed by peer [192.0.2.1]:1234")


@pytest.mark.parametrize(
    ("failures", "expected"),
    [
        pytest.param({1: RuntimeError("actor died")}, PoolBroken("worker 1 of a training was lost"), id="lost"),
        pytest.param(
            {0: raised(COLLATERAL), 1: RuntimeError("actor died")},
            PoolBroken("worker 1 of a training was lost"),
            id="lost, and the other one notices",
        ),
        pytest.param({0: raised(COLLATERAL)}, PoolBroken("worker 0 of a training was lost"), id="one notices first"),
        pytest.param({0: raised(ValueError("bad"))}, ShardRaised("ValueError: bad", "traceback of bad"), id="raised"),
        pytest.param(
            {0: raised(COLLATERAL), 1: raised(ValueError("bad"))},
            ShardRaised("ValueError: bad", "traceback of bad"),
            id="raised, and the other one notices",
        ),
        pytest.param({0: raised(CorruptArtifact("cut off"))}, CorruptArtifact("cut off"), id="bad input"),
    ],
)
def test_a_lost_worker_is_told_from_one_that_raised(failures: dict[int, Exception], expected: Exception) -> None:
    found = _cause(WorkerGroupError("failed", failures))
    assert type(found) is type(expected)
    assert (str(found), getattr(found, "trace", "")) == (str(expected), getattr(expected, "trace", ""))


def test_more_workers_than_the_cluster_has_room_for_are_refused_at_once() -> None:
    cluster = Cluster({"one": Node(4, 0), "two": Node(3, 0)})
    cluster.check_can_meet(Resources(cpus=2), workers=3)
    with pytest.raises(
        ClusterError, match="4 workers needs 4 x 2 CPUs and 0 GPUs at once, and the cluster has room for 3"
    ):
        cluster.check_can_meet(Resources(cpus=2), workers=4)
