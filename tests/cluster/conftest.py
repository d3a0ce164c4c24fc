"""Clusters for tests. Every Ray that they start asks for a token of their own, said before ray is imported."""

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ.update(
    RAY_AUTH_MODE="token",
    RAY_AUTH_TOKEN=secrets.token_hex(32),
    REPORTER_UPDATE_INTERVAL_MS="60000",  # every agent would else look at all processes each 5 s
    RAY_TRAIN_HEALTH_CHECK_INTERVAL_S="0.3",  # a worker that is done or lost is seen after that, by default after 2 s
    RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S="600",  # workers on a busy machine take more than the minute of the default
)

from ray.cluster_utils import Cluster

from nrf_ray.graph.store import Store

StartCluster = Callable[..., Cluster]
After = Callable[[int, Callable[[], object]], threading.Thread]


SPARING = {
    "include_dashboard": False,
    "include_log_monitor": False,
    "no_monitor": True,
    "_system_config": {
        "prestart_worker_first_driver": False,
        "health_check_period_ms": 300,
    },
}
"""What all clusters have in common: no dashboard, no autoscaler, and no processes of Ray that no test asks for.

And it is noticed within two seconds that a node is gone. A node that is slow still has ten seconds to answer.
"""


@pytest.fixture
def start() -> Iterator[StartCluster]:
    """Start a cluster whose head has what is given; it is gone after the test."""
    started: list[Cluster] = []

    def start_with(**head: float) -> Cluster:
        started.append(Cluster(initialize_head=True, head_node_args=SPARING | head))
        return started[0]

    yield start_with
    for cluster in started:
        cluster.shutdown()


@pytest.fixture(scope="package")
def _head_of_two() -> Iterator[Cluster]:
    cluster = Cluster(initialize_head=True, head_node_args=SPARING | {"num_cpus": 2})
    yield cluster
    cluster.shutdown()


@pytest.fixture
def two_cpus(_head_of_two: Cluster) -> Iterator[Cluster]:
    """A cluster with two CPUs, started once for all tests of this room; nodes that a test adds are gone after it."""
    yield _head_of_two
    for node in list(_head_of_two.worker_nodes):
        _head_of_two.remove_node(node)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"), create=True)


@pytest.fixture
def after(store: Store) -> After:
    """Start a thread that acts as soon as so many records are in the store."""

    def start_thread(count: int, act: Callable[[], object]) -> threading.Thread:
        def wait_and_act() -> None:
            while sum(blob.name.endswith("record.json") for blob in store.blobs.under()) < count:
                time.sleep(0.05)
            act()

        thread = threading.Thread(target=wait_and_act, daemon=True)
        thread.start()
        return thread

    return start_thread
