"""Clusters for tests. Every Ray that they start asks for a token of their own, said before ray is imported."""

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))

from ray.cluster_utils import Cluster

from nrf_ray.graph.store import Store

StartCluster = Callable[..., Cluster]
After = Callable[[int, Callable[[], object]], threading.Thread]


@pytest.fixture
def start() -> Iterator[StartCluster]:
    """Start a cluster whose head has what is given; it is gone after the test."""
    started: list[Cluster] = []

    def start_with(**head: float) -> Cluster:
        started.append(Cluster(initialize_head=True, head_node_args=head))
        return started[0]

    yield start_with
    for cluster in started:
        cluster.shutdown()


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
