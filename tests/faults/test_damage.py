"""Damage on the disk: whatever bit flips or whatever end is missing, it is found, never served, and built again."""

import contextlib
import io
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save

from nrf_ray.errors import CorruptArtifact, StoreError
from nrf_ray.graph import checkpoints
from nrf_ray.graph.execute import Context, execute, run_inline
from nrf_ray.graph.garbage import collect, find
from nrf_ray.graph.record import Record, record_of
from nrf_ray.graph.stage import Metrics, stage
from nrf_ray.graph.store import MARKER, RECORD, Artifact, Store, place_of
from tests.graph.toys import Toy, node, tree

WEIGHTS, SHARD = "weights.safetensors", "part-00000.parquet"


@dataclass(frozen=True, kw_only=True)
class Real:
    """Files of the kinds that there are."""

    rows: int = 40


@stage(version=1, cost=lambda handle: 1.0)
def real(config: Real, context: Context) -> Metrics:
    """Write a shard and weights as real ones are, only smaller."""
    values = np.arange(config.rows * 8, dtype=np.float32).reshape(config.rows, 8)
    sink = io.BytesIO()
    pq.write_table(pa.table({"image": list(values), "label": range(config.rows)}), sink, compression="zstd")
    context.write(SHARD, sink.getvalue())
    context.write(WEIGHTS, save({"head": values}, {"about": "a toy_text"}))
    return {"sum": float(values.sum())}


@stage(version=1, cost=lambda handle: 1.0)
def user(config: Toy, context: Context, *, first: Artifact) -> Metrics:
    """Read all that there is."""
    return {"bytes": sum(len(first.read(name)) for name in first.names())}


REAL = real(Real())
USER = user(Toy(name="user"), first=REAL)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which the real files are, and in which their user has not run."""
    folder = tmp_path_factory.mktemp("whole") / "store"
    execute(REAL, Store.open(str(folder), create=True))
    return folder


def offsets(size: int, count: int) -> list[int]:
    """Return the ends and the middle of a file, and places spread over it."""
    return sorted({0, 1, size // 2, size - 2, size - 1, *(size * n // count for n in range(count))})


def damaged(data: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield damaged forms of `data`, each with the name of its kind."""
    for at in offsets(len(data), count):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        yield "bit flips", bytes(flipped)
    for length in sorted({0, 1, len(data) // 2, len(data) - 1}):
        yield "truncations", data[:length]
    yield "files grown", data + b"\0"
    yield "files zeroed", bytes(len(data))


def check(whole: Path, folder: Path, name: str, count: int, tally: Counter[str]) -> None:
    """Damage the file `name` in every way; each time its user has to run as if nothing had been."""
    blob = place_of(REAL).file(name)
    sound = {entry.name: entry.sha256 for entry in Store.open(str(whole), create=False).artifact(REAL).record.files}
    for kind, data in damaged((whole / blob).read_bytes(), count):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        (folder / blob).write_bytes(data)
        store = Store.open(str(folder), create=False)
        frontier = run_inline([USER], store)
        tally[kind] += 1
        wrong = dict(frontier.errors)
        record = store.artifact(REAL).record
        expected = sum((whole / place_of(REAL).file(n)).stat().st_size for n in (SHARD, WEIGHTS))
        same = {entry.name: entry.sha256 for entry in record.files} == sound and store.problems(record) == []
        if wrong or not same or store.artifact(USER).record.metrics != {"bytes": expected}:
            tally["lost or wrong artifacts"] += 1
        assert wrong == {}
        assert same
        assert store.artifact(USER).record.metrics == {"bytes": expected}
        quarantined = len(store.blobs.folders("quarantine"))
        # A damaged end of a line in a record may still say the same; whatever says something else is set aside.
        assert quarantined == 1 or (name == RECORD and json.loads(data))
        collect(store)
        kept = {name.partition("/")[0] for name in tree(folder)} - {"attempts"}
        assert (find(store), kept) == ([], {MARKER, "real", "user"})


@pytest.mark.parametrize("name", [SHARD, WEIGHTS, RECORD])
def test_a_sample_of_damage(whole: Path, tmp_path: Path, name: str, tally: Counter[str]):
    check(whole, tmp_path / "store", name, 3, tally)


@pytest.mark.slow
@pytest.mark.parametrize("name", [SHARD, WEIGHTS, RECORD])
def test_much_damage(whole: Path, tmp_path: Path, name: str, tally: Counter[str]):
    check(whole, tmp_path / "store", name, 120, tally)


@pytest.mark.slow
def test_no_bit_of_a_record_can_flip_unseen(whole: Path, tally: Counter[str]):
    data = (whole / place_of(REAL).file(RECORD)).read_bytes()
    record = Record.from_bytes(data, "real", REAL.key)
    for at in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[at // 8] ^= 1 << at % 8
        tally["bit flips"] += 1
        try:
            assert Record.from_bytes(bytes(flipped), "real", REAL.key) == record, at
        except CorruptArtifact:
            continue


@pytest.mark.parametrize("count", [8, pytest.param(60, marks=pytest.mark.slow)])
def test_a_damaged_checkpoint_is_never_gone_on_from(tmp_path: Path, count: int, tally: Counter[str]):
    store = Store.open(str(tmp_path / "store"), create=True)
    stage_ = node("x")
    states = [save({"w": np.full(50, step, np.float32)}) for step in range(3)]
    for step, state in enumerate(states):
        # As a run leaves them that was killed between writing a checkpoint and deleting the one before.
        store.write(stage_, f"checkpoint-{step:08d}-{checkpoints.digest(state)}", state)
    last = tmp_path / "store" / place_of(stage_).file(f"checkpoint-00000002-{checkpoints.digest(states[2])}")
    for kind, data in damaged(states[2], count):
        last.write_bytes(data)
        tally[kind] += 1
        assert checkpoints.latest(store, stage_) == states[1]
    checkpoints.save(store, stage_, 2, states[2])
    assert checkpoints.latest(store, stage_) == states[2], "it is written anew beside the damaged one"
    store.commit(record_of(stage_, [], {}, 0, ""))
    checkpoints.drop(store, stage_)
    assert find(store) == []


def test_a_damaged_marker_is_refused_or_says_the_same(tmp_path: Path, tally: Counter[str]):
    Store.open(str(tmp_path / "store"), create=True)
    whole = (tmp_path / "store" / MARKER).read_bytes()
    for kind, data in damaged(whole, len(whole)):
        (tmp_path / "store" / MARKER).write_bytes(data)
        tally[kind] += 1
        with contextlib.suppress(StoreError):
            Store.open(str(tmp_path / "store"), create=True)
            assert json.loads(data)["schema"] <= 1
        assert (tmp_path / "store" / MARKER).read_bytes() == data, "a marker is never overwritten"
