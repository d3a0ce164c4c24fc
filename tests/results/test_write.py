"""Tables: every column is declared with its meaning, and every row of a run has exactly the declared columns."""

import threading

import pyarrow.types as arrow_types
import pytest

from nrf_ray.graph.attempts import note_lost
from nrf_ray.graph.bucket import Bucket
from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.store import Store
from nrf_ray.results.parquet import schema
from nrf_ray.results.write import write_tables
from nrf_ray.sweep.table import Measure, Row, Table
from nrf_ray.tables.constructed_sets import DATASETS
from nrf_ray.tables.robustness import ROBUSTNESS
from nrf_ray.tables.stages import STAGES, stage_rows
from nrf_ray.tables.trained_models import RESULTS
from nrf_ray.tables.transfer import TRANSFER
from tests.cluster.toys import Toy, sweep_of, toy

TABLES = (RESULTS, DATASETS, ROBUSTNESS, TRANSFER, STAGES)
every_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
PYTHON = {"string": str, "float64": float, "int64": int, "int64s": list, "bool": bool}
ADVERSARY = {"adversary", "adversary_norm", "adversary_epsilon"}
SOURCE = {"source_arch", "source_training", "source_eps", "source_model"}
MAY_BE_NULL = {
    "results": {"norm", "epsilon", "start", "storage", "craft_mode", "model", *SOURCE, *ADVERSARY},
    "datasets": {"start", "craft_mode", "mean_loss", *SOURCE},
    "robustness": {
        "trained_norm",
        "trained_epsilon",
        "start",
        "storage",
        "craft_mode",
        "autoattack_checks",
        "model",
        *SOURCE,
        *ADVERSARY,
    },
    "transfer": {"source_eps", "source_model", "victim_eps", "victim_model"},
    "stages": {"reason"},
}


def rows_of(table, tiny):
    return stage_rows(tiny.sweep, tiny.store) if table is STAGES else tiny.sweep.collect(tiny.store)[table]


@every_table
def test_every_column_says_what_it_is(table):
    names = table.column_names()
    assert len(set(names)) == len(names)
    for column in table.columns:
        assert len(column.description) > 5, column.name
        assert column.type in PYTHON
        if column.type in ("string", "bool"):
            assert column.unit == ""
        elif column.name != "seed":
            assert column.unit, f"{column.name} is a number without a unit"


@every_table
def test_every_row_of_a_run_has_exactly_the_declared_columns(table, tiny):
    rows = rows_of(table, tiny)
    assert rows
    for row in rows:
        assert set(row) == set(table.column_names())
        for column in table.columns:
            value = row[column.name]
            if value is None:
                assert column.name in MAY_BE_NULL[table.name], column.name
            else:
                assert type(value) is PYTHON[column.type], f"{column.name}: {value!r}"


@every_table
def test_shares_are_shares(table, tiny):
    for row in rows_of(table, tiny):
        for column in table.columns:
            if column.unit == "share":
                assert 0 <= row[column.name] <= 1, column.name


def test_results_have_the_columns_that_others_rely_on():
    assert {
        "sweep",
        "dataset",
        "construction",
        "norm",
        "epsilon",
        "source_arch",
        "student_arch",
        "seed",
        "precision",
        "clean_accuracy",
        "relabelled_accuracy",
        "key",
    } <= set(RESULTS.column_names())


def test_a_robust_accuracy_never_stands_alone():
    needed = "attack steps restarts norm epsilon n ci_low ci_high trust_level checks checks_n construction source_arch"
    assert set(needed.split()) <= set(ROBUSTNESS.column_names())


def test_only_the_table_of_stages_has_times():
    """Everything else is the same on every run of the same grid, byte for byte."""
    timed = {table.name for table in TABLES for column in table.columns if column.unit == "seconds"}
    clocks = {"seconds", "started", "host", "threads", "device"}
    assert timed == {"stages"}
    assert {table.name for table in TABLES if clocks & set(table.column_names())} == {"stages"}


@every_table
def test_the_schema_is_the_declaration(table):
    made = schema(table)
    assert made.names == table.column_names()
    checks = {
        "string": arrow_types.is_string,
        "float64": arrow_types.is_float64,
        "int64": arrow_types.is_int64,
        "int64s": lambda type: arrow_types.is_list(type) and arrow_types.is_int64(type.value_type),
        "bool": arrow_types.is_boolean,
    }
    for column, field in zip(table.columns, made, strict=True):
        assert checks[column.type](field.type)
        assert field.metadata == {b"description": column.description.encode(), b"unit": column.unit.encode()}
    assert made.metadata == {b"table": table.name.encode(), b"row": table.row.encode()}


def test_a_row_is_filled_from_facts_measures_and_what_follows_from_them(tiny):
    one, two = tiny.sweep.goals[:2]
    row = Row(
        table=Table("t", "one", ()),
        facts={"name": "x"},
        measures={"a": Measure(one, "m"), "b": Measure(two, "m")},
        derive=lambda values: {"sum": values["a"] + values["b"]},
    )
    assert [stage.key for stage in row.stages()] == [one.key, two.key]
    values = {one.key: {"m": 1.0, "other": 9.0}, two.key: {"m": 2.0}}
    assert row.fill(lambda stage: values[stage.key]) == {"name": "x", "a": 1.0, "b": 2.0, "sum": 3.0}


def test_rows_of_a_run_agree_with_each_other(tiny):
    tables = tiny.sweep.collect(tiny.store)
    models = {row["key"]: row for row in tables[RESULTS]}
    assert {row["role"] for row in models.values()} == {"judge", "source", "victim", "student"}
    for row in tables[ROBUSTNESS]:
        assert row["robust_accuracy"] <= models[row["key"]]["clean_accuracy"]
        assert row["ci_low"] <= row["robust_accuracy"] <= row["ci_high"]
        assert (row["trust_level"], row["training"]) == ("L0", models[row["key"]]["training"])
    for row in tables[TRANSFER]:
        assert models[row["key"]]["role"] == "victim"
    for row in models.values():
        on_original = row["construction"] == "d"
        assert (row["norm"] is None) == (row["epsilon"] is None) == on_original
        assert (row["source_arch"] is not None) == (row["construction"] == "d_other")
        assert (row["role"] == "student") == (not on_original)


def test_what_lies_in_an_object_store_is_read_many_at_once(in_memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: each record was waited for before the next was asked for, which is minutes for a large grid."""
    stages = [toy(Toy(name=str(n))) for n in range(8)]
    store = Store.open(in_memory, create=True)
    run_inline(stages, store)
    for stage in stages:
        note_lost(store, stage)
    together, real = threading.Barrier(4, timeout=20), Bucket.get

    def with_others(bucket: Bucket, name: str) -> bytes | None:
        if name.endswith("record.json") or name.startswith("attempts/"):
            together.wait()  # raises where three others do not come
        return real(bucket, name)

    monkeypatch.setattr(Bucket, "get", with_others)
    tables = write_tables(sweep_of(*stages), store).frames
    assert list(tables["toys"]["value"]) == [1] * 8
    assert list(tables["stages"]["attempts"]) == [2] * 8
