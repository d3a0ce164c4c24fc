"""The store that these tests read."""

import pytest


@pytest.fixture(scope="session")
def store(store_of_goals):
    """Return a store in which all of `tests.goals.GOALS` are done. Tests must leave it as it is."""
    return store_of_goals
