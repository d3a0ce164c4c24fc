"""Clusters of several nodes, real as far as one machine goes: every node has its own raylet; CPUs and GPUs are claimed.

What is at stake: a stage runs where its request says; a node that dies costs time and nothing else; one that joins is
used; and no shape of the cluster, nor what happens to it, shows in the results.
"""

import io
import math
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster
from rich.console import Console

from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.cluster.run import Outcome, run_sweep
from nrf_ray.graph.attempts import lost_attempts
from nrf_ray.graph.frontier import Progress
from nrf_ray.graph.plan import make_plan
from nrf_ray.graph.stage import Resources, Stage
from nrf_ray.graph.store import Store
from nrf_ray.sweep.models_and_sets import shard_rows
from nrf_ray.sweep.sweep import Sweep
from tests.cluster.conftest import After, StartCluster
from tests.cluster.toys import Toy, meeting, place, place_on_gpu, sweep_of, toy, wide

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def run(sweep: Sweep, store: Store, cluster: Cluster, tmp_path: Path) -> Outcome:
    console = Console(file=io.StringIO(), width=200)
    plan, log = make_plan(sweep.goals, store), tmp_path / "logs" / "ray.log"
    return run_sweep(sweep, plan, store, address=cluster.address, log=log, console=console)


def places(store: Store, *stages: Stage) -> list[tuple[str, str, str]]:
    """Return node, process and GPUs behind every file of `stages`."""
    texts = [store.artifact(s).read(name).decode() for s in stages for name in store.artifact(s).names()]
    return [(node, pid, gpus) for node, pid, gpus in (text.split(" ") for text in texts)]


def test_stages_run_where_their_kind_and_request_say(two_cpus: Cluster, store: Store, tmp_path: Path) -> None:
    gpus = two_cpus.add_node(num_cpus=8, num_gpus=2)
    on_cpus = [place(Toy(name=f"cpu {i}")) for i in range(2)]
    on_gpus = [place_on_gpu(Toy(name=f"gpu {i}", marker=str(tmp_path / "met"), meet=4)) for i in range(8)]
    # Twice as many as meet: an actor that is up early is given two.
    shards = wide(Toy(name="shards", num_shards=8, marker=str(tmp_path / "shards met"), meet=4))
    sweep = sweep_of(*on_cpus, *on_gpus, shards).on(Resources(cpus=1, gpus=0.5))

    outcome = run(sweep, store, two_cpus, tmp_path)

    assert set(outcome.frontier.state.values()) == {Progress.DONE}
    assert {granted for _, _, granted in places(store, *on_cpus)} == {""}, (
        "no GPU was granted to what has no use for it"
    )
    for made in (places(store, *on_gpus), places(store, shards)):
        assert {node for node, _, _ in made} == {gpus.node_id}
        assert {granted for _, _, granted in made} == {"0", "1"}, (
            "each process sees the GPU of its grant, and only that"
        )
        holders = Counter(granted for granted, _ in {(granted, pid) for _, pid, granted in made})
        assert max(holders.values()) <= 2, "no more than two processes share a GPU"


def test_a_set_as_large_as_the_papers_is_made_on_all_eight_gpus(
    start: StartCluster, store: Store, tmp_path: Path
) -> None:
    """50,000 images at 100 steps; the first files wait until there are eight at once."""
    files = math.ceil(50_000 / shard_rows(pgd_attack("l2", 0.5, steps=100, targeted=True), 50_000))
    shards = wide(Toy(name="shards", num_shards=files, marker=str(tmp_path / "met"), meet=8))

    outcome = run(sweep_of(shards).on(Resources(cpus=1, gpus=1)), store, start(num_cpus=9, num_gpus=8), tmp_path)

    assert set(outcome.frontier.state.values()) == {Progress.DONE}
    made = places(store, shards)
    assert len(made) == files
    assert {granted for _, _, granted in made} == set("01234567")
    assert len({pid for _, pid, _ in made}) == 8


def test_a_node_that_dies_costs_time_and_nothing_else(
    two_cpus: Cluster, store: Store, after: After, tmp_path: Path
) -> None:
    doomed = two_cpus.add_node(num_cpus=3)
    stages = [toy(Toy(name=f"toy {i}", seconds=0.2)) for i in range(12)]
    folder = tmp_path / "met"
    met = [meeting(Toy(name=f"met {i}", marker=str(folder), meet=6)) for i in range(5)]
    shards = wide(Toy(name="shards", num_shards=20, seconds=0.2))

    def kill_when_all_are_at_work() -> None:
        while not folder.exists() or len(list(folder.iterdir())) < 5:
            time.sleep(0.1)
        two_cpus.remove_node(doomed, allow_graceful=False)
        while len(lost_attempts(store)) < 3:  # its workers live on for a moment
            time.sleep(0.1)
        (folder / "the sixth").touch()

    killer = after(1, kill_when_all_are_at_work)
    outcome = run(sweep_of(*stages, *met, shards), store, two_cpus, tmp_path)

    killer.join()
    assert set(outcome.frontier.state.values()) == {Progress.DONE}
    lost = lost_attempts(store)
    assert len(lost) == 3, "as many as ran on the node"
    assert set(lost) <= {stage.key for stage in met}
    assert {store.artifact(s).record.metrics["value"] for s in (*stages, *met)} == {1}
    assert not [blob.name for blob in store.blobs.under() if blob.name.endswith(("failure.json", "lease.json"))]


def test_a_set_whose_pool_loses_a_node_is_made_by_the_rest(
    two_cpus: Cluster, store: Store, after: After, tmp_path: Path
) -> None:
    doomed = two_cpus.add_node(num_cpus=2)
    first = toy(Toy(name="first"))
    gate = tmp_path / "gate"
    shards = wide(Toy(name="shards", num_shards=16, gate=str(gate)), first=first)

    def kill_when_it_works() -> None:
        while doomed.node_id not in {read.split(" ")[0] for read in made()}:
            time.sleep(0.1)
        two_cpus.remove_node(doomed, allow_graceful=False)
        gate.touch()

    def made() -> list[str]:
        return [left.data.decode() for shard in range(16) for left in store.unfinished(shards, f"{shard}.txt")]

    killer = after(1, kill_when_it_works)
    outcome = run(sweep_of(shards), store, two_cpus, tmp_path)

    killer.join()
    assert set(outcome.frontier.state.values()) == {Progress.DONE}
    nodes = Counter(node for node, _, _ in places(store, shards))
    assert nodes[doomed.node_id] >= 1, "what it made before is kept"
    assert len(nodes) == 2
    assert lost_attempts(store) == {shards.key: 1}


def test_a_node_that_joins_is_used(start: StartCluster, store: Store, after: After, tmp_path: Path) -> None:
    cluster = start(num_cpus=1)
    stages = [place(Toy(name=f"toy {i}", seconds=1.5)) for i in range(3)]
    met = [meeting(Toy(name=f"met {i}", marker=str(tmp_path / "met"), meet=2)) for i in range(2)]
    joined: list[subprocess.Popen[bytes]] = []
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={cluster.address}", "--num-cpus=3"]

    def join() -> None:
        # Not `cluster.add_node`: it works in the main thread only, where the sweep runs.
        joined.append(subprocess.Popen([*command, "--block"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    joiner = after(1, join)
    try:
        outcome = run(sweep_of(*stages, *met), store, cluster, tmp_path)
    finally:
        joiner.join()
        joined[0].terminate()
        joined[0].wait()

    assert set(outcome.frontier.state.values()) == {Progress.DONE}
    assert len({node for node, _, _ in places(store, *stages, *met)}) == 2, (
        "two that meet have no room on the first node"
    )
    assert 1 < outcome.slots < 4, "slots are counted as the cluster was"
