"""Checkpoints: the last whole one is found, earlier ones go, and none is left when the stage is done."""

from dataclasses import dataclass

import pytest

from nrf_ray.graph import checkpoints
from nrf_ray.graph.execute import execute
from nrf_ray.graph.garbage import collect, find
from nrf_ray.graph.stage import stage
from nrf_ray.graph.store import Store, place_of


@dataclass(frozen=True, kw_only=True)
class Counting:
    """Where to stop."""

    stop: int


@stage(version=1, cost=lambda handle: 1.0)
def saving(config: Counting, context):
    """Count to 5; stop where the config says, once."""
    done = int(context.latest_checkpoint() or b"0")
    for step in range(done + 1, 6):
        context.save_checkpoint(step, str(step).encode())
        if step == config.stop and done < step:
            raise KeyboardInterrupt
    return {"counted": 5 - done}


@pytest.fixture
def store(tmp_path):
    return Store.open(str(tmp_path / "store"), create=True)


def files(store, handle):
    return sorted(path.name[:19] for path in (store.blobs.root / "saving" / handle.key).iterdir())


def test_work_goes_on_where_it_was_stopped_and_leaves_nothing(store):
    handle = saving(Counting(stop=3))
    with pytest.raises(KeyboardInterrupt):
        execute(handle, store)
    assert files(store, handle) == ["checkpoint-00000003"]
    assert execute(handle, store).metrics == {"counted": 2}
    assert files(store, handle) == ["record.json"]


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(store):
    handle = saving(Counting(stop=0))
    for step in (1, 2):
        store.write(handle, f"checkpoint-{step:08d}-{checkpoints.digest(b'%d' % step)}", b"%d" % step)
    newest = store.blobs.root / place_of(handle).file(f"checkpoint-00000002-{checkpoints.digest(b'2')}")
    newest.write_bytes(b"3")
    assert checkpoints.latest(store, handle) == b"1"
    checkpoints.save(store, handle, 3, b"3")
    assert files(store, handle) == ["checkpoint-00000003"]


def test_nothing_kept_is_nothing_found(store):
    assert checkpoints.latest(store, saving(Counting(stop=0))) is None


def test_a_checkpoint_of_a_stage_that_never_ended_is_garbage(store):
    handle = saving(Counting(stop=2))
    with pytest.raises(KeyboardInterrupt):
        execute(handle, store)
    garbage = find(store)
    assert [blob.name.rpartition("/")[2][:19] for blob in garbage] == ["checkpoint-00000002"]
    collect(store)
    assert checkpoints.latest(store, handle) is None
