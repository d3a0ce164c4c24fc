"""Settings of all tests: hypothesis is the same on every run, and short. A store that only tests may use.

And the tally of faults: every test adds what it tried, and the end of the test run prints the sums. It is here since
the process that prints collects no tests, and knows no other conftest.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from nrf_ray.graph import bucket

settings.register_profile("nrf", max_examples=50, deadline=None, derandomize=True)
settings.load_profile("nrf")

TRIED = "faults tried"


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of an object store in this process; it is gone with whoever opened it, so users are refused it."""
    service = bucket.Service("this process", "NONE", "none are needed", part="")
    monkeypatch.setitem(bucket.SERVICES, "memory", service)
    return "memory:///"


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """What this test has tried, by kind."""
    tried: Counter[str] = Counter()
    yield tried
    request.node.user_properties.append((TRIED, dict(tried)))  # which reach the process that prints


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what was tried, and what was lost or wrong after it."""
    reports = [report for kept in terminalreporter.stats.values() for report in kept]
    ends = [report.user_properties for report in reports if getattr(report, "when", "") == "teardown"]
    tried: Counter[str] = Counter()
    for value in (value for properties in ends for name, value in properties if name == TRIED):
        tried.update(value)
    if tried:
        wrong = tried.pop("lost or wrong artifacts", 0)
        words = ", ".join(f"{count} {what}" for what, count in sorted(tried.items()))
        terminalreporter.write_line(f"faults tried: {words}; lost or wrong artifacts: {wrong}")
