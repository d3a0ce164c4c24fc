"""Every test of files has a data home of its own, and no memory of files that another test wrote."""

import pytest

from nrf_ray.data import facts
from nrf_ray.data.catalogue import info_of
from nrf_ray.data.load import load


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Return an empty data home."""
    monkeypatch.setenv("NRF_DATA", str(tmp_path / "home"))
    for memory in (info_of, load):
        memory.cache_clear()
    monkeypatch.setattr(facts, "_remembered", {})
    return tmp_path / "home"
