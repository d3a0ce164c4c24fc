"""Result files: the same rows give the same bytes in whatever order they come, and damage is noticed."""

import math
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nrf_ray.errors import MissingArtifact
from nrf_ray.graph.blobs import Blobs
from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.store import Store
from nrf_ray.results.parquet import read_table, to_arrow, write_table
from nrf_ray.results.write import table_name, write_tables
from nrf_ray.tables.constructed_sets import DATASETS
from nrf_ray.tables.robustness import ROBUSTNESS
from nrf_ray.tables.stages import STAGES
from nrf_ray.tables.trained_models import RESULTS
from nrf_ray.tables.transfer import TRANSFER

TABLES = (RESULTS, DATASETS, ROBUSTNESS, TRANSFER, STAGES)
every_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
VALUES = {
    "string": st.none() | st.text("aB_é", max_size=3),
    "float64": st.none() | st.floats(-1, 1, allow_nan=False).map(lambda x: x + 0.0),
    "int64": st.integers(-3, 3),
    "int64s": st.lists(st.integers(0, 3), max_size=3),
    "bool": st.booleans(),
}


def rows_for(table):
    """Return a strategy for a few rows of `table`, with ties and nulls."""
    row = st.fixed_dictionaries({column.name: VALUES[column.type] for column in table.columns})
    return st.lists(row, max_size=4)


def file_of(tmp_path_factory, table, rows):
    blobs = Blobs(str(tmp_path_factory.mktemp("tables")), create=True)
    write_table(blobs, "t.parquet", table, rows)
    return blobs, blobs.get("t.parquet")


def test_a_table_names_its_preset(tmp_path):
    blobs = Blobs(str(tmp_path), create=True)
    write_table(blobs, "t.parquet", STAGES, [], preset="laptop")
    assert read_table(blobs, "t.parquet").schema.metadata[b"preset"] == b"laptop"


def test_a_number_that_is_none_is_null(tmp_path):
    row = dict.fromkeys(STAGES.column_names()) | {"seconds": math.nan}
    assert to_arrow(STAGES, [row])["seconds"].null_count == 1


def unordered(rows):
    return sorted(map(repr, (sorted(row.items()) for row in rows)))


@every_table
@settings(max_examples=15, deadline=None)
@given(st.data())
def test_round_trip_and_order_does_not_matter(tmp_path_factory, table, data):
    rows = data.draw(rows_for(table))
    blobs, written = file_of(tmp_path_factory, table, rows)
    back = read_table(blobs, "t.parquet")
    assert unordered(back.to_pylist()) == unordered(rows)
    assert back.schema.equals(to_arrow(table, rows).schema, check_metadata=True)
    shuffled = list(rows)
    random.Random(len(rows)).shuffle(shuffled)
    for other in (shuffled, rows[::-1], [dict(reversed(row.items())) for row in rows]):
        assert file_of(tmp_path_factory, table, other)[1] == written


def test_rows_are_sorted_by_their_first_columns():
    names = RESULTS.column_names()
    row = dict.fromkeys(names) | {"sweep": "s", "seed": 0, "n": 1, "parameters": 1}
    rows = [row | {"dataset": dataset, "construction": c} for dataset, c in (("b", "x"), ("a", "z"), ("a", "y"))]
    table = to_arrow(RESULTS, rows)
    assert list(zip(table["dataset"].to_pylist(), table["construction"].to_pylist(), strict=True)) == [
        ("a", "y"),
        ("a", "z"),
        ("b", "x"),
    ]


@pytest.mark.parametrize("change", ["missing", "unknown"])
def test_a_row_of_other_columns_is_refused(change):
    row = dict.fromkeys(STAGES.column_names())
    if change == "missing":
        del row["host"]
    else:
        row["colour"] = "red"
    with pytest.raises(AssertionError, match=r"row of stages: \{'(host|colour)'\}"):
        to_arrow(STAGES, [row])


def test_a_value_of_another_type_is_refused():
    row = dict.fromkeys(STAGES.column_names()) | {"seconds": "long"}
    with pytest.raises(pa.ArrowInvalid):
        to_arrow(STAGES, [row])


def test_a_table_that_is_not_there_says_what_to_do(tmp_path):
    blobs = Blobs(str(tmp_path), create=True)
    with pytest.raises(MissingArtifact, match=r"no table sweeps/x/results.parquet in .*; run its sweep") as error:
        read_table(blobs, "sweeps/x/results.parquet")
    assert "\n" not in str(error.value)


def test_a_damaged_table_raises(tmp_path_factory, tiny):
    rows = tiny.sweep.collect(tiny.store)[RESULTS]
    blobs, data = file_of(tmp_path_factory, RESULTS, rows)
    group = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0)
    chunk = group.column(RESULTS.column_names().index("clean_accuracy"))
    start = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
    damaged = bytearray(data)
    damaged[start + chunk.total_compressed_size - 2] ^= 1
    blobs.replace("t.parquet", bytes(damaged))
    with pytest.raises(OSError, match=r"CRC|checksum"):
        read_table(blobs, "t.parquet")


def test_two_runs_of_a_grid_give_the_same_tables_byte_for_byte(tiny, tmp_path):
    other = Store.open(str(tmp_path / "other"), create=True)
    assert run_inline(tiny.sweep.goals, other).errors == {}
    for store in (tiny.store, other):
        write_tables(tiny.sweep, store)
    for table in (RESULTS, DATASETS, ROBUSTNESS, TRANSFER):
        name = table_name(tiny.sweep, table)
        assert tiny.store.blobs.get(name) == other.blobs.get(name), table.name
        assert pq.read_table(tiny.store.blobs.root / name).num_rows > 0


def test_written_tables_are_what_is_returned_and_can_be_written_again(tiny):
    frames = write_tables(tiny.sweep, tiny.store).frames
    assert list(frames) == ["results", "robustness", "transfer", "datasets", "stages"]
    for table in TABLES:
        name = table_name(tiny.sweep, table)
        first = tiny.store.blobs.get(name)
        write_tables(tiny.sweep, tiny.store)
        assert tiny.store.blobs.get(name) == first
        back = read_table(tiny.store.blobs, name)
        assert back.to_pandas().equals(frames[table.name])
        assert not any(isinstance(v, float) and math.isnan(v) for row in back.to_pylist() for v in row.values())
