"""The tally of faults: every test adds what it tried, and the end of the test run prints the sums."""

from collections import Counter
from typing import Any

import pytest

TALLY = pytest.StashKey[Counter[str]]()


@pytest.fixture
def tally(pytestconfig: pytest.Config) -> Counter[str]:
    """What has been tried so far, by kind."""
    return pytestconfig.stash.setdefault(TALLY, Counter())


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print what was tried, and what was lost or wrong after it."""
    tried = config.stash.get(TALLY, Counter())
    if tried:
        wrong = tried.pop("lost or wrong artifacts", 0)
        words = ", ".join(f"{count} {what}" for what, count in sorted(tried.items()))
        terminalreporter.write_line(f"faults tried: {words}; lost or wrong artifacts: {wrong}")
