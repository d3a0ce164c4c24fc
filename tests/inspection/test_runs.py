"""Runs side by side: `nrf runs`, `nrf rm`, `nrf gc --unused`, and what a named run shares with the others."""

import json
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nrf_ray.errors import ConfigError
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.execute import execute, run_inline
from nrf_ray.graph.frontier import Frontier
from nrf_ray.graph.headway import Headway
from nrf_ray.graph.lease import Leases
from nrf_ray.graph.plan import make_plan
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import Store, place_of
from nrf_ray.inspection.runs import age_named, named_by, unused_artifacts
from nrf_ray.page.live import RunPage
from nrf_ray.page.outline import read_outline
from nrf_ray.results.write import write_tables
from nrf_ray.sweep.sweep import Sweep
from tests.cluster.toys import Toy, sweep_of, toy
from tests.commands import nrf

SHARED = toy(Toy(name="shared")).named("shared")
NARROW = toy(Toy(name="narrow"), first=SHARED).named("narrow")
WIDE = toy(Toy(name="wide"), first=SHARED).named("wide")
STRAY = toy(Toy(name="stray")).named("stray")


@dataclass
class Done:
    """Workers of a run whose stages have all ended."""

    frontier: Frontier

    def at_work(self) -> list[Stage]:
        return []

    def headway(self) -> dict[Key, Headway]:
        return {}


def finish(sweep: Sweep, store: Store) -> None:
    """Run a sweep to its end in this process, with its tables and its page."""
    plan = make_plan(sweep.goals, store)
    with RunPage(sweep, plan, store, expected=1.0, say=pytest.fail) as page:
        if plan.todo():
            with page.watching(Done(run_inline(sweep.goals, store)), pytest.fail):
                pass
        page.finish(write_tables(sweep, store).frames)


@pytest.fixture
def store(tmp_path, monkeypatch) -> Store:
    """Return a store with two runs of one sweep, which share a stage, and one artifact that no run names."""
    monkeypatch.setattr(sys, "argv", ["sweeps/toys.py", "--store", "somewhere", "--epsilon", "1 2", "--name=wide"])
    opened = Store.open(str(tmp_path / "runs"), create=True)
    finish(sweep_of(NARROW), opened)
    finish(sweep_of(WIDE).as_run("wide"), opened)
    execute(STRAY, opened)
    return opened


def test_a_named_run_keeps_its_own_tables_and_shares_artifacts(store):
    name = sweep_of(NARROW).name
    assert store.blobs.folders("sweeps") == [name, f"{name}@wide"]
    narrow, wide = (named_by(store, run) for run in (name, f"{name}@wide"))
    assert narrow == {place_of(SHARED), place_of(NARROW)}
    assert wide == {place_of(SHARED), place_of(WIDE)}
    assert [stage.kept for stage in read_outline(store, f"{name}@wide").stages] == [True, False]


def test_runs_are_listed_with_grid_state_rows_and_space(store, monkeypatch, capsys):
    code, out, err = nrf(monkeypatch, capsys, "runs", "--store", store.uri)
    assert (code, err) == (0, "")
    lines = [line for line in out.splitlines() if "finished" in line]
    assert [line.split()[0] for line in lines] == ["toys", "toys@wide"]
    assert all("1 of 1" in line for line in lines)
    assert out.count("--epsilon '1 2'") == 2
    assert "somewhere" not in out
    sizes = {stage: sum(blob.size for blob in store.blobs.under(f"toy/{stage.key}")) for stage in (SHARED, NARROW)}
    disk, alone = " ".join(lines[0].split()[-4:-2]), " ".join(lines[0].split()[-2:])
    assert disk == f"{sum(sizes.values()) / 1024:.1f} KiB"
    assert alone == f"{sizes[NARROW] / 1024:.1f} KiB" if sizes[NARROW] >= 1024 else f"{sizes[NARROW]} B"


def test_a_run_without_a_run_file_and_a_killed_one_are_listed_as_such(store, monkeypatch, capsys):
    place = "sweeps/toys/run.json"
    told = json.loads(store.blobs.get(place))
    told |= {"ended": None, "state": "running", "process": {"host": "h", "machine": "m", "pid": 1, "started": "1"}}
    store.blobs.replace(place, json.dumps(told).encode())
    store.blobs.replace("sweeps/toys@wide/run.json", b"{")
    out = nrf(monkeypatch, capsys, "runs", "--store", store.uri)[1]
    assert "interrupted" in out
    assert "unknown: its run file is missing or damaged" in out


def test_an_empty_store_has_no_runs(tmp_path, monkeypatch, capsys):
    Store.open(str(tmp_path / "runs"), create=True)
    assert nrf(monkeypatch, capsys, "runs", "--store", str(tmp_path / "runs"))[1] == "no run has begun in this store\n"


def test_unused_artifacts_are_listed_and_deleted_only_with_yes(store, monkeypatch, capsys):
    code, out, _ = nrf(monkeypatch, capsys, "gc", "--unused", "--store", store.uri)
    assert (code, "1 artifacts that no run names" in out, "stray" in out) == (0, True, True)
    assert store.has(STRAY)
    code, out, _ = nrf(monkeypatch, capsys, "gc", "--unused", "--yes", "--store", store.uri)
    assert code == 0
    assert not store.has(STRAY)
    assert store.blobs.under(f"toy/{STRAY.key}") == []
    for stage in (SHARED, NARROW, WIDE):
        assert store.artifact(stage).read("value.txt")


def test_what_a_forgotten_run_named_alone_becomes_unused(store, monkeypatch, capsys):
    (Path(store.blobs.root) / "sweeps" / "toys@wide" / "notes.md").write_text("mine")
    code, out, _ = nrf(monkeypatch, capsys, "rm", "toys@wide", "--store", store.uri)
    assert code == 0
    assert "to write them again: python sweeps/toys.py" in out
    assert "notes.md" in out.splitlines()[-1]
    assert [blob.name for blob in store.blobs.under("sweeps/toys@wide")] == ["sweeps/toys@wide/notes.md"]
    code, _, err = nrf(monkeypatch, capsys, "gc", "--unused", "--store", store.uri)
    assert (code, "toys@wide" in err) == (2, True), "a folder that does not say what it names: nothing is called unused"
    (Path(store.blobs.root) / "sweeps" / "toys@wide" / "notes.md").unlink()
    nrf(monkeypatch, capsys, "rm", "toys@wide", "--store", store.uri)
    assert store.blobs.folders("sweeps") == ["toys"]
    assert {one.place for one in unused_artifacts(store, timedelta(0))} == {place_of(WIDE), place_of(STRAY)}


def test_age_is_counted_from_when_an_artifact_was_made(store):
    record = store.artifact(STRAY).record
    old = (datetime.now(UTC) - timedelta(days=31)).isoformat(timespec="seconds")
    aged = replace(record, provenance={**record.provenance, "started": old})
    execute(toy(Toy(name="new")), store)
    store.blobs.replace(place_of(STRAY).file("record.json"), aged.to_bytes())
    assert [one.place for one in unused_artifacts(store, timedelta(days=30))] == [place_of(STRAY)]
    assert len(unused_artifacts(store, timedelta(0))) == 2
    assert unused_artifacts(store, timedelta(days=32)) == []


def test_a_damaged_artifact_is_not_called_unused(store):
    store.blobs.replace(place_of(STRAY).file("record.json"), b"{}")
    assert unused_artifacts(store, timedelta(0)) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("gc", "--yes"), "add --unused"),
        (("gc", "--older-than", "30d"), "add --unused"),
        (("gc", "--unused", "--yes", "--dry-run"), "give one of them"),
        (("gc", "--unused", "--older-than", "30"), "is not an age"),
        (("rm", "toys@other"), "toys@wide"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(words, said, store, monkeypatch, capsys):
    code, out, err = nrf(monkeypatch, capsys, *words, "--store", store.uri)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_a_store_in_use_is_left_alone(store, monkeypatch, capsys):
    with Leases(store):
        code, _, err = nrf(monkeypatch, capsys, "gc", "--unused", "--yes", "--store", store.uri)
    assert (code, "this store is in use" in err, store.has(STRAY)) == (2, True, True)


@pytest.mark.parametrize("name", ["", "@", "a b", "../x", ".x", "x.", "Wide", "x" * 65, "ä"])
def test_a_name_that_is_no_name_for_a_folder_is_refused(name):
    with pytest.raises(ConfigError, match="is not a name for a run"):
        sweep_of(NARROW).as_run(name)


@given(st.from_regex(r"[a-z0-9][a-z0-9._-]{0,62}[a-z0-9]", fullmatch=True))
def test_a_name_changes_no_key(name):
    assert [stage.key for stage in sweep_of(NARROW).as_run(name).stages()] == [SHARED.key, NARROW.key]


@given(st.integers(0, 99_999), st.sampled_from([("h", 1), ("d", 24), ("w", 168)]))
def test_ages(number, unit):
    assert age_named(f"{number}{unit[0]}") == timedelta(hours=number * unit[1])


def test_two_runs_of_one_store_are_compared(store, monkeypatch, capsys):
    code, out, err = nrf(monkeypatch, capsys, "compare", "toys", "toys@wide", "--store", store.uri)
    assert (code, err) == (0, "")
    assert "toys and toys@wide" in out
    code, _, err = nrf(monkeypatch, capsys, "compare", "toys", "elsewhere", "--store", store.uri)
    assert (code, "toys is a run of" in err, err.count("\n")) == (2, True, 1)
    code, _, err = nrf(monkeypatch, capsys, "compare", "toys", "toys@wide", "--sweep", "toys", "--store", store.uri)
    assert (code, "--sweep chooses among the runs of two stores" in err) == (2, True)


def test_a_run_that_found_everything_keeps_when_it_ran_and_how_long(store):
    before = read_outline(store, "toys")
    finish(sweep_of(NARROW), store)
    after = read_outline(store, "toys")
    assert after.checked is not None
    assert replace(after, checked=None) == before
    page = (store.blobs.get("sweeps/toys/report.html") or b"").decode()
    assert "The same command found every stage in the store on" in page
    assert "2 kept from before" not in page


def test_a_run_of_another_grid_is_a_new_run(store):
    finish(sweep_of(NARROW, WIDE), store)
    after = read_outline(store, "toys")
    assert (after.checked, [stage.kept for stage in after.stages]) == (None, [True, True, True])
