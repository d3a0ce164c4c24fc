"""What tests of constructed sets share."""

import pytest

from nrf_ray.graph.store import Store
from tests.goals import SOURCE


@pytest.fixture
def only_source(store, tmp_path):
    """Return a store of its own in which only the source model is done."""
    copy, record = Store.open(str(tmp_path / "only source"), create=True), store.artifact(SOURCE).record
    for entry in record.files:
        copy.write(SOURCE, entry.name, store.read(record, entry.name))
    copy.commit(record)
    return copy
