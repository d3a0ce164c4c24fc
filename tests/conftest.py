"""Settings of all tests: hypothesis is the same on every run, and short. And a store that only tests may use."""

import pytest
from hypothesis import settings

from nrf_ray.graph import bucket

settings.register_profile("nrf", max_examples=50, deadline=None, derandomize=True)
settings.load_profile("nrf")


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of an object store in this process; it is gone with whoever opened it, so users are refused it."""
    service = bucket.Service("this process", "NONE", "none are needed", part="")
    monkeypatch.setitem(bucket.SERVICES, "memory", service)
    return "memory:///"
