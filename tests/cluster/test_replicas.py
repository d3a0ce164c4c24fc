"""A stage of two workers, on a real Ray: in the trial's own bundles, beside other stages, and when one is lost."""

import io
import pickle
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster as RayCluster
from ray.train import WorkerGroupError
from rich.console import Console

from nrf_ray.cluster.capacity import Cluster, Node
from nrf_ray.cluster.replicas import _cause
from nrf_ray.cluster.run import run_sweep
from nrf_ray.cluster.shards import PoolBroken, ShardRaised
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.errors import ClusterError, MissingArtifact
from nrf_ray.graph.attempts import lost_attempts
from nrf_ray.graph.frontier import Progress
from nrf_ray.graph.plan import make_plan
from nrf_ray.graph.stage import Resources
from nrf_ray.graph.store import Store
from nrf_ray.stages.train import TrainSpec, train
from nrf_ray.sweep.sweep import Sweep
from nrf_ray.sweep.table import Measure, Row
from nrf_ray.training.recipes import Recipe
from tests.cluster.toys import TOYS, Toy, sweep_of, together, toy

SPEC = TrainSpec(arch="vgg_s", dataset=dataset_named("digits").ref, recipe=Recipe(epochs=2, lr=0.05, workers=2), seed=0)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_stages_of_two_workers_run_among_others_and_go_on_when_a_worker_is_lost(
    two_cpus: RayCluster, store: Store, tmp_path: Path
) -> None:
    """A deadlock would show as the time-out: everything here wants the same two CPUs."""
    trained = train(SPEC)
    others = [toy(Toy(name=f"other {i}", seconds=0.2)) for i in range(6)]
    raises = together(Toy(name="raises", num_workers=2, fault="raises"))
    exits_once = together(Toy(name="exits", num_workers=2, fault="exits once", marker=str(tmp_path / "marker")))
    facts = {"name": "trained", "key": trained.key}
    row = Row(table=TOYS, facts=facts, measures={"value": Measure(trained, "train_examples")})
    sweep = Sweep("toys", (*sweep_of(*others, raises, exits_once).rows, row))

    plan, log = make_plan(sweep.goals, store), tmp_path / "logs" / "ray.log"
    console = Console(file=io.StringIO(), width=200)
    outcome = run_sweep(sweep, plan, store, address=two_cpus.address, log=log, console=console)

    frontier = outcome.frontier
    assert set(frontier.in_state(Progress.FAILED)) == {raises}
    assert "ValueError: raises was told to fail" in frontier.errors[raises.key]
    assert store.artifact(exits_once).record.metrics["value"] == 1 + 2 + 100, "the second attempt found the checkpoint"
    assert lost_attempts(store) == {exits_once.key: 1, raises.key: 1}
    measured = store.artifact(trained).record.metrics
    assert measured["train_examples"] == 1437
    assert float(str(measured["train_accuracy"])) > 0.5


COLLATERAL = ShardRaised("RuntimeError: [../gloo/transport/tcp/pair.cc:547] Connection closed by peer", "")
BAD = ShardRaised("ValueError: bad", "Traceback")
LOST = RuntimeError("a worker died")


@pytest.mark.parametrize(
    ("failures", "expected"),
    [
        pytest.param({1: LOST}, PoolBroken("worker 1 of a training was lost"), id="lost"),
        pytest.param(
            {0: COLLATERAL, 1: LOST}, PoolBroken("worker 1 of a training was lost"), id="lost, and the other notices"
        ),
        pytest.param({0: COLLATERAL}, PoolBroken("worker 0 of a training was lost"), id="the other notices first"),
        pytest.param({0: BAD}, BAD, id="raised"),
        pytest.param({1: BAD, 0: COLLATERAL}, BAD, id="raised, and the other notices"),
        pytest.param({0: MissingArtifact("gone")}, MissingArtifact("gone"), id="bad input"),
    ],
)
def test_a_lost_worker_is_told_from_one_that_raised(failures: dict[int, Exception], expected: Exception) -> None:
    found = pickle.loads(pickle.dumps(_cause(WorkerGroupError("failed", failures))))
    assert type(found) is type(expected)
    assert (str(found), getattr(found, "trace", "")) == (str(expected), getattr(expected, "trace", ""))


def test_more_workers_than_the_cluster_has_room_for_are_refused_at_once() -> None:
    cluster = Cluster({"one": Node(4, 0), "two": Node(3, 0)})
    cluster.check_can_meet(Resources(cpus=2), workers=3)
    with pytest.raises(
        ClusterError, match="4 workers needs 4 x 2 CPUs and 0 GPUs at once, and the cluster has room for 3"
    ):
        cluster.check_can_meet(Resources(cpus=2), workers=4)
    with pytest.raises(ClusterError, match="workers of one training cannot share a GPU"):
        Cluster({"one": Node(8, 4)}).check_can_meet(Resources(gpus=0.5), workers=2)
