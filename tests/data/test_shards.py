"""Shards: what is written comes back, anybody's parquet reader can read it, and damage is noticed."""

import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nrf_ray.data.shards import Shard, concatenate, read_shard, write_shard

KEY = "ab" * 32


def made(n=20, shape=(1, 8, 8), seed=0, key=KEY):
    generator = torch.Generator().manual_seed(seed)
    columns = {
        "index": torch.arange(n),
        "label": torch.randint(10, (n,), generator=generator),
        "loss": torch.full((n,), float("nan")),
        "norm": torch.rand(n, generator=generator),
        "moved": torch.rand(n, generator=generator) < 0.5,
    }
    return Shard(torch.randint(256, (n, *shape), generator=generator).to(torch.uint8), columns, key)


def same(left, right):
    """Return whether two shards are equal in everything, NaN equal to NaN."""
    return (
        left.key == right.key
        and torch.equal(left.images, right.images)
        and list(left.columns) == list(right.columns)
        and all(
            left.columns[name].dtype == right.columns[name].dtype
            and np.array_equal(left.columns[name].numpy(), right.columns[name].numpy(), equal_nan=name == "loss")
            for name in left.columns
        )
    )


def data_end(data):
    """Return where the column data end and the footer begins."""
    return len(data) - 8 - int.from_bytes(data[-8:-4], "little")


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.sampled_from([(1, 8, 8), (3, 5, 4), (1, 1, 1)]), st.integers(0, 2**31))
def test_round_trip(n, shape, seed):
    shard = made(n, shape, seed)
    assert same(read_shard(write_shard(shard)), shard)


def test_images_that_are_not_contiguous_are_written_as_they_look():
    shard = made(shape=(3, 5, 4))
    strided = shard._replace(images=shard.images.contiguous(memory_format=torch.channels_last))
    assert write_shard(strided) == write_shard(shard)


def test_the_same_rows_are_the_same_bytes_and_others_are_not():
    assert write_shard(made()) == write_shard(made())
    assert write_shard(made()) != write_shard(made(seed=1))
    assert write_shard(made()) != write_shard(made(key="cd" * 32))


def test_what_is_read_can_be_written_to(recwarn):
    shard = read_shard(write_shard(made()))
    shard.images[0] = 0
    shard.columns["norm"][0] = 0
    assert not recwarn.list


def test_plain_pyarrow_reads_it():
    shard = made(shape=(3, 5, 4))
    table = pq.read_table(pa.BufferReader(write_shard(shard)))
    assert table.column_names == ["index", "label", "loss", "norm", "moved", "image"]
    assert table.schema.field("image").type == pa.list_(pa.uint8(), 60)
    assert table.schema.field("moved").type == pa.bool_()
    assert table.schema.field("norm").type == pa.float32()
    meta = json.loads(table.schema.metadata[b"nrf_ray"])
    assert meta == {"format": 1, "key": KEY, "shape": [3, 5, 4], "layout": "CHW", "scale": 255}


def test_pandas_reads_it():
    shard = made()
    frame = pd.read_parquet(io.BytesIO(write_shard(shard)))
    assert list(frame["index"]) == list(range(20))
    assert list(frame["label"]) == shard.columns["label"].tolist()
    images = np.stack(frame["image"].to_list()).reshape(-1, 1, 8, 8)
    assert images.dtype == np.uint8
    assert np.array_equal(images, shard.images.numpy())


@pytest.mark.parametrize("column", ["image", "norm", "label", "moved"])
def test_a_flipped_bit_in_a_data_page_raises(column):
    shard = made(200)
    data = write_shard(shard)
    group = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0)
    chunk = next(c for c in map(group.column, range(group.num_columns)) if c.path_in_schema.split(".")[0] == column)
    end = chunk.data_page_offset + chunk.total_compressed_size
    if chunk.has_dictionary_page:
        end = chunk.dictionary_page_offset + chunk.total_compressed_size
    for place in range(end - 8, end):
        damaged = bytearray(data)
        damaged[place] ^= 1
        with pytest.raises(ValueError, match=r"CRC|checksum"):
            read_shard(bytes(damaged))


def test_no_flipped_bit_among_the_data_gives_other_rows_unnoticed():
    """Page headers hold statistics that nobody reads here, so a flip there may also change nothing."""
    shard = made()
    data = write_shard(shard)
    noticed = 0
    for place in range(4, data_end(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        try:
            read = read_shard(bytes(damaged))
        except (OSError, ValueError):
            noticed += 1
        else:
            assert same(read, shard), place
    assert noticed > 0.9 * data_end(data)


def test_no_flipped_bit_of_the_footer_raises_anything_but_a_value_error():
    """Whoever resumes a set asks read_shard whether a file is whole; no checksum covers the footer."""
    shard = made(4)._replace(columns={"index": torch.arange(4)})
    data = write_shard(shard)
    noticed = 0
    for place in range(data_end(data), len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            try:
                read_shard(bytes(damaged))
            except ValueError:
                noticed += 1
    assert noticed > len(data) - data_end(data)


@pytest.mark.parametrize("kept", [0, 3, 100, -1], ids=["empty", "magic", "start", "all but a byte"])
def test_a_cut_off_file_raises(kept):
    with pytest.raises((OSError, ValueError)):
        read_shard(write_shard(made())[:kept])


def test_concatenated_shards_keep_their_order():
    shard = made(30)
    parts = [
        Shard(shard.images[rows], {name: values[rows] for name, values in shard.columns.items()}, KEY)
        for rows in (slice(0, 10), slice(10, 25), slice(25, 30))
    ]
    assert same(concatenate(parts), shard)
