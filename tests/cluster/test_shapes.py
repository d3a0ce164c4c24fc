"""The shape of the cluster does not show in the results, nor does what is killed in between: the same bytes."""

import io
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from ray.cluster_utils import Cluster
from rich.console import Console

from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.cluster.run import run_sweep
from nrf_ray.constructions.construct_spec import ConstructSpec
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.graph.attempts import lost_attempts
from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.frontier import Progress
from nrf_ray.graph.plan import make_plan
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import Store
from nrf_ray.stages.construct import construct
from nrf_ray.stages.evaluate import EvaluateSpec, evaluate
from nrf_ray.stages.train import TrainSpec, train
from nrf_ray.sweep.sweep import Sweep
from nrf_ray.sweep.table import Measure, Row
from nrf_ray.training.recipes import Recipe
from tests.cluster.conftest import After, StartCluster
from tests.cluster.toys import MEETING_SECONDS, TOYS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
DIGITS = dataset_named("digits").ref


def tiny_sweep() -> Sweep:
    """Return two models, a set of six shards of each, and a student of each set: all that a real sweep has."""
    craft = pgd_attack("l2", 1.0, steps=3, targeted=True)
    tested = []
    for seed in (0, 1):
        recipe = Recipe(epochs=2, lr=0.05)
        source = train(TrainSpec(arch="resnet_s", dataset=DIGITS, recipe=recipe, seed=seed))
        spec = ConstructSpec(dataset=DIGITS, construction="d_det", craft=craft, seed=seed, shard_rows=256)
        data = construct(spec, source=source)
        student = train(TrainSpec(arch="resnet_s", dataset=DIGITS, recipe=recipe, seed=seed), data=data)
        tested += [evaluate(EvaluateSpec(dataset=DIGITS), model=model) for model in (source, student)]
    rows = (Row(table=TOYS, facts={"name": s.title, "key": s.key}, measures={"value": Measure(s, "n")}) for s in tested)
    return Sweep("tiny", tuple(rows))


def content(store: Store, sweep: Sweep) -> dict[str, object]:
    """Return what every stage wrote (by digest) and measured."""
    records = {stage: store.artifact(stage).record for stage in sweep.stages()}
    return {stage.key: (record.files, record.metrics) for stage, record in records.items()}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What one process makes, without Ray."""
    store, sweep = Store.open(str(tmp_path_factory.mktemp("inline") / "store"), create=True), tiny_sweep()
    run_inline(sweep.goals, store)
    return content(store, sweep)


def kill_a_trial() -> None:
    """Kill a process that is working on a stage, the hard way, as soon as there is one; give up after minutes."""
    until = time.monotonic() + MEETING_SECONDS
    while time.monotonic() < until:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if any(part.startswith(("ray::train: ", "ray::construct: ")) for part in process.cmdline()):
                    process.kill()
                    return
        time.sleep(0.1)


@pytest.mark.parametrize("cpus", [1, 2, 4])
def test_the_number_of_workers_does_not_show(
    cpus: int, request: pytest.FixtureRequest, store: Store, tmp_path: Path, expected: dict[str, object]
) -> None:
    cluster = request.getfixturevalue("two_cpus") if cpus == 2 else request.getfixturevalue("start")(num_cpus=cpus)
    run_on(cluster, store, tmp_path)
    assert content(store, tiny_sweep()) == expected
    assert lost_attempts(store) == {}


def test_three_nodes_and_kills_do_not_show(
    start: StartCluster, store: Store, after: After, tmp_path: Path, expected: dict[str, object]
) -> None:
    cluster = start(num_cpus=1)
    doomed, _ = cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)
    kills: list[threading.Thread] = [
        after(1, kill_a_trial),
        after(3, lambda: cluster.remove_node(doomed, allow_graceful=False)),
    ]
    run_on(cluster, store, tmp_path)
    for kill in kills:
        kill.join()
    assert content(store, tiny_sweep()) == expected
    assert lost_attempts(store)


def run_on(cluster: Cluster, store: Store, tmp_path: Path) -> list[Stage]:
    sweep, console = tiny_sweep(), Console(file=io.StringIO(), width=200)
    plan, log = make_plan(sweep.goals, store), tmp_path / "logs" / "ray.log"
    outcome = run_sweep(sweep, plan, store, address=cluster.address, log=log, console=console)
    assert set(outcome.frontier.state.values()) == {Progress.DONE}, outcome.frontier.errors
    return plan.todo()
