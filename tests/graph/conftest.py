"""Fixtures of the graph tests: a store in a new folder, and the diary of the toys that ran."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nrf_ray.graph.store import Store
from tests.graph import toys


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
