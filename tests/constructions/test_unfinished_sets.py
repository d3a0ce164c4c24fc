"""A set that was cut off: what is whole is kept, what is damaged or of another set is made again."""

import io
from functools import partial

import pyarrow.parquet as pq
import pytest
import torch

from nrf_ray.constructions.stored_set import constructed_rows, shard_name
from nrf_ray.data.shards import Shard, read_shard
from nrf_ray.graph.execute import execute, map_here
from nrf_ray.graph.store import RECORD
from tests.goals import D_OTHER, D_OTHER_WHOLE, D_ROBUST, metrics


@pytest.fixture
def unfinished(store, only_source):
    """Return a store with the source model and a set of three shards that no record vouches for yet."""
    record = store.artifact(D_OTHER).record
    for entry in record.files:
        only_source.write(D_OTHER, entry.name, store.read(record, entry.name))
    return only_source


def finish(store):
    """Run the unfinished set; return the shards that were crafted."""
    crafted = []

    def counting(make_worker, shards):
        crafted.extend(shards)
        map_here(make_worker, shards)

    execute(D_OTHER, store, map_shards=counting)
    return crafted


def shard_path(store, index):
    return store.blobs.root / "construct" / D_OTHER.key / shard_name(index)


@pytest.mark.parametrize("gone", [[], [1], [0, 2]], ids=["none", "the middle one", "first and last"])
def test_a_set_that_was_cut_off_crafts_only_the_shards_that_are_missing(store, unfinished, gone):
    for index in gone:
        shard_path(unfinished, index).unlink()
    assert not (shard_path(unfinished, 0).parent / RECORD).exists()
    assert finish(unfinished) == gone
    assert unfinished.artifact(D_OTHER).record.files == store.artifact(D_OTHER).record.files
    assert metrics(unfinished, D_OTHER) == metrics(store, D_OTHER)
    assert finish(unfinished) == [], "it is done"


def flip_in_a_page(data):
    group = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0)
    chunk = group.column(group.num_columns - 1)
    start = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
    damaged = bytearray(data)
    damaged[start + chunk.total_compressed_size - 3] ^= 4
    return bytes(damaged)


def flip_in_the_footer(data, outcome):
    """Flip the first bit of the footer for which reading the file ends in `outcome`, an error's class or Shard.

    No checksum covers the footer.
    """
    for place in range(len(data) - 8 - int.from_bytes(data[-8:-4], "little"), len(data) - 8):
        damaged = bytearray(data)
        damaged[place] ^= 8
        try:
            result = read_shard(bytes(damaged))
        except Exception as error:
            result = error
        if isinstance(result, outcome):
            return bytes(damaged)
    raise AssertionError("no flip ends so: this case can go")


def rename_a_column(data):
    """Damage the name of the column `norm` wherever the footer has it."""
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    return data[:footer] + data[footer:].replace(b"norm", b"nork")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-100],
        flip_in_a_page,
        rename_a_column,
        partial(flip_in_the_footer, outcome=ValueError),
        partial(flip_in_the_footer, outcome=Shard),
    ],
    ids=[
        "empty",
        "cut off",
        "page",
        "renamed column",
        "footer that cannot be read",
        "footer that still reads",
    ],
)
def test_a_damaged_shard_of_an_unfinished_set_is_crafted_again(store, unfinished, damage):
    path = shard_path(unfinished, 1)
    data = path.read_bytes()
    path.write_bytes(damage(data))
    assert path.read_bytes() != data
    assert finish(unfinished) == [1]
    assert unfinished.artifact(D_OTHER).read(shard_name(1)) == data
    assert unfinished.artifact(D_OTHER).record.files == store.artifact(D_OTHER).record.files


def test_a_shard_of_another_set_is_not_taken_for_ones_own(store, unfinished):
    shard_path(unfinished, 0).write_bytes(store.artifact(D_ROBUST).read(shard_name(0)))
    assert finish(unfinished) == [0]
    assert unfinished.artifact(D_OTHER).record.files == store.artifact(D_OTHER).record.files


def test_other_rows_of_the_same_set_are_not_taken_for_a_shards_own(store, unfinished):
    shard_path(unfinished, 1).write_bytes(store.artifact(D_OTHER).read(shard_name(0)))
    assert finish(unfinished) == [1]
    assert metrics(unfinished, D_OTHER) == metrics(store, D_OTHER)


def test_a_set_that_was_begun_in_one_file_is_finished_in_three(store, only_source):
    """As if a release with other sizes of files, or another driver, had begun it; the file that it left stays."""
    whole, stop = [], RuntimeError("stopped")

    def stopped(make_worker, shards):
        map_here(make_worker, shards)
        whole.extend(shards)
        raise stop

    with pytest.raises(RuntimeError, match="stopped"):
        execute(D_OTHER_WHOLE, only_source, map_shards=stopped)
    assert whole == [0]
    assert finish(only_source) == [0, 1, 2]
    names = [entry.blob for entry in only_source.artifact(D_OTHER).record.files]
    assert metrics(only_source, D_OTHER) == metrics(store, D_OTHER)
    assert len({*names, shard_name(0)}) == 4, names
    assert torch.equal(*(constructed_rows(where.artifact(D_OTHER)).images for where in (store, only_source)))
