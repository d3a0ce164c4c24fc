"""Fixtures of the graph tests: a store in a new folder or in a bucket, and the diary of the toys that ran."""

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from nrf_ray.graph import drivers
from nrf_ray.graph.store import Store
from tests.graph import s3, toys
from tests.graph.others import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which drivers are seen to live or to be dead."""
    made = Clock()
    monkeypatch.setattr(drivers, "time", SimpleNamespace(monotonic=made.monotonic, sleep=made.sleep))
    return made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store.open(str(tmp_path / "store"), create=True)


@pytest.fixture
def ran() -> Iterator[list[str]]:
    """Names of the toys whose bodies have started since the test began."""
    toys.RAN.clear()
    toys.HOOKS.clear()
    yield toys.RAN
    toys.RAN.clear()
    toys.HOOKS.clear()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of a running S3 server."""
    with s3.running() as address:
        yield address


@pytest.fixture
def s3_address(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a running S3 server, to which the environment leads."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3.environment(s3_server).items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture
def new_uri(s3_address: str) -> Callable[[], str]:
    """Gives URIs below which there is nothing yet."""
    return lambda: f"s3://{s3.BUCKET}/{uuid.uuid4().hex}"
