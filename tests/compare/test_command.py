"""What `nrf compare` prints, writes and refuses."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from nrf_ray.compare.origins import compare_origins
from nrf_ray.graph.store import Store, place_of
from nrf_ray.results.parquet import write_table
from nrf_ray.results.stored_sweep import find_sweep
from nrf_ray.sweep.table import Column, Table
from tests.cluster.toys import Toy, toy
from tests.commands import nrf
from tests.export.made_up import made_up, values

FIRST = {("d", 1.0): {0: 0.5, 1: 0.6, 2: 0.7}, ("e", 1.0): {0: 0.5}}
SECOND = {("d", 1.0): {0: 0.6, 1: 0.7, 2: 0.8}, ("e", 1.0): {0: 0.5}, ("f", 2.0): {0: 0.1}}


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Store, Store]:
    """Return two stores with one sweep; one stage of one label has another config in the second."""
    common = toy(Toy(name="common")).named("common")
    return (
        made_up(tmp_path / "first", values(FIRST), [toy(Toy(name="a")).named("changed"), common]),
        made_up(tmp_path / "second", values(SECOND), [toy(Toy(name="b")).named("changed"), common]),
    )


def rewrite(store: Store, stage, **provenance) -> None:
    """Give a record of the store another provenance, and its file other bytes."""
    record = store.artifact(stage).record
    changed = replace(
        record,
        files=(replace(record.files[0], sha256="0" * 64),),
        provenance={**record.provenance, **provenance},
    )
    store.blobs.replace(place_of(stage).file("record.json"), changed.to_bytes())


def test_it_says_what_changed_and_ends_well(stores, monkeypatch, capsys) -> None:
    rewrite(stores[1], toy(Toy(name="common")), processor="another", source_digest="f" * 64)
    code, out, err = nrf(monkeypatch, capsys, "compare", stores[0].uri, stores[1].uri)
    assert (code, err) == (0, "")
    for told in (
        "toys: 4 rows in both, 3 differ; 1 rows only in the second",
        "construction only in the second: f",
        "epsilon only in the second: 2",
        "setting: toy: name a -> b (1 stages)",
        ", another",
        "source of stage toy: ",
        "other bytes: toy ",
        "common: value.txt",
        "1 artifacts have the same key in both; 1 differ in their bytes",
    ):
        assert told in out, told
    row = next(line for line in out.splitlines() if "clean_accuracy" in line)
    assert [part for part in row.split() if part[0] in "+-."] == ["+0.1", "+0.1,", "+0.1"]


def test_two_looks_at_one_store_find_nothing(stores, monkeypatch, capsys) -> None:
    code, out, _ = nrf(monkeypatch, capsys, "compare", stores[0].uri, stores[0].uri)
    assert code == 0
    assert "toys: 4 rows in both, all the same" in out
    assert "2 artifacts have the same key in both; 0 differ in their bytes" in out
    assert "->" not in out


def test_the_written_table_has_every_change(stores, tmp_path, monkeypatch, capsys) -> None:
    file = tmp_path / "changes.parquet"
    words = ("compare", stores[0].uri, stores[1].uri, "--output", str(file), "--rows", "0")
    code, out, _ = nrf(monkeypatch, capsys, *words)
    assert (code, "1 more changes: give --output" in out) == (0, True)
    (row,) = pq.read_table(file).to_pylist()
    assert json.loads(row["cell"]) == {"sweep": "made_up", "construction": "d", "epsilon": 1.0}
    assert (row["measure"], row["seeds"], row["paired"], row["over"]) == ("clean_accuracy", 3, True, "seeds")
    assert (row["first"], row["second"], row["difference"]) == pytest.approx((0.6, 0.7, 0.1))
    before = file.read_bytes()
    code, _, err = nrf(monkeypatch, capsys, *words)
    assert (code, err.count("\n"), file.read_bytes() == before) == (2, 1, True)


def test_a_table_whose_rows_cannot_be_told_apart_leaves_the_others(stores, monkeypatch, capsys) -> None:
    for store in stores:
        twice = Table("twice", "one", (Column("sweep", "string", "its name"), Column("n", "int64", "images")))
        write_table(store.blobs, "sweeps/made_up/a_twice.parquet", twice, [{"sweep": "made_up", "n": 1}] * 2)
    code, out, err = nrf(monkeypatch, capsys, "compare", stores[0].uri, stores[1].uri)
    assert (code, err) == (0, "")
    assert "a_twice: not compared: some rows of a_twice do not differ in any of sweep" in out
    assert "toys: 4 rows in both, 3 differ" in out


def test_tables_none_of_which_can_be_compared_are_a_mistake_not_a_match(tmp_path, monkeypatch, capsys) -> None:
    twice = {("d", 1.0): {0: 0.5}}
    uris = [made_up(tmp_path / name, [*values(twice), *values(twice)]).uri for name in "ab"]
    code, out, err = nrf(monkeypatch, capsys, "compare", *uris, "--output", str(tmp_path / "changes.parquet"))
    assert (code, err) == (2, "error: none of the tables can be compared; the lines above say why\n")
    assert "toys: not compared: some rows of toys do not differ in any of" in out
    assert not (tmp_path / "changes.parquet").exists()


def test_what_is_certain_comes_first_not_what_is_large_beside_itself(tmp_path, monkeypatch, capsys) -> None:
    """From 1 to 3 of 100 is a third as sure as from 30 to 60."""
    first, second = {("d", 1.0): {0: 0.01}, ("e", 1.0): {0: 0.3}}, {("d", 1.0): {0: 0.03}, ("e", 1.0): {0: 0.6}}
    folders = [made_up(tmp_path / name, values(rows)).uri for name, rows in (("a", first), ("b", second))]
    code, out, _ = nrf(monkeypatch, capsys, "compare", *folders, "--rows", "1")
    (row,) = [line for line in out.splitlines() if "clean_accuracy" in line]
    assert (code, " 0.6 " in row, " rows " in row) == (0, True, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(("FIRST", "/nowhere/at/all"), "there is no store at /nowhere/at/all", id="no store"),
        pytest.param(("FIRST", "SECOND", "--sweep", "x"), "unknown sweep of ", id="no such sweep"),
        pytest.param(("FIRST", "EMPTY"), "has none; they have no sweep in common", id="nothing in common"),
        pytest.param(
            ("FIRST", "SECOND", "--output", "/nowhere/x.parquet"), "there is no folder /nowhere", id="no folder"
        ),
        pytest.param(("FIRST", "SECOND", "--rows", "-3"), "--rows -3 is below 0", id="rows below 0"),
    ],
)
def test_a_mistake_is_one_line(words, message, stores, tmp_path, monkeypatch, capsys) -> None:
    empty = Store.open(str(tmp_path / "empty"), create=True)
    named = {"FIRST": stores[0].uri, "SECOND": stores[1].uri, "EMPTY": empty.uri}
    code, _, err = nrf(monkeypatch, capsys, "compare", *(named.get(word, word) for word in words))
    assert (code, err.count("\n")) == (2, 1)
    assert message in err


def test_what_was_behind_two_runs(stores) -> None:
    kept = [find_sweep(store, "made_up") for store in stores]
    found = compare_origins(*kept)
    (setting,) = found.settings
    assert (setting.stage, setting.path, setting.first, setting.second) == ("toy", "name", "a", "b")
    assert (found.circumstances, found.same_keys, found.other_bytes) == ((), 1, ())
    rewrite(stores[1], toy(Toy(name="common")), python="4.0", versions={"torch": "9"})
    found = compare_origins(kept[0], find_sweep(stores[1], "made_up"))
    changed = {thing.name: thing for thing in found.circumstances}
    assert "4.0" in changed["python"].second
    assert "9" in changed["torch"].second
    assert found.other_bytes[0].differing == ("value.txt",)
