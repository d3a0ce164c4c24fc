"""Garbage is what no record names, and nothing that a person may have put into the store."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.folder import TEMPORARY
from nrf_ray.graph.garbage import collect, find
from nrf_ray.graph.lease import Leases
from nrf_ray.graph.record import record_of
from nrf_ray.graph.store import FAILURE, LEASE, MARKER, RECORD, Store, place_of
from tests.graph import toys
from tests.graph.toys import FILE, Toy, chain, content, flip, garbage_names, node, path_of, pieces, refuse, tree

A, B = chain("a", "b")
PARTS = pieces(Toy(name="p"), first=A)
UNFINISHED = node("unfinished")


@pytest.fixture
def full(store: Store, ran: list[str]) -> Store:
    """A store with three artifacts and the tables of a sweep."""
    run_inline([B, PARTS], store)
    for name in ("sweeps/s/results.parquet", "sweeps/s/report.html"):
        store.blobs.put_new(name, b"table")
    return store


def test_a_store_in_order_has_no_garbage(full: Store):
    before = tree(Path(full.uri))
    assert find(full) == []
    assert collect(full) == ([], [])
    assert tree(Path(full.uri)) == before


LEFTOVERS = [
    pytest.param(place_of(UNFINISHED).file(FILE), id="data without a record"),
    pytest.param(place_of(UNFINISHED).file(f"{TEMPORARY}123"), id="temporary file without a record"),
    pytest.param(place_of(A).file(FAILURE), id="failure beside a record"),
    pytest.param(place_of(UNFINISHED).file(LEASE), id="lease"),
    pytest.param(place_of(A).file(f"{TEMPORARY}123"), id="temporary file beside a record"),
    pytest.param(place_of(A).file("other.bin"), id="data that the record does not name"),
    pytest.param(place_of(A).file(LEASE), id="lease beside a record"),
    pytest.param("drivers/dead.json", id="driver"),
    pytest.param("quarantine/20260101T000000-abc/toy_text/key/value.txt", id="quarantine"),
    pytest.param(f"sweeps/s/{TEMPORARY}123", id="half a table"),
    # Regression: a run that is cut off while it makes the store leaves this, and nothing ever removed it.
    pytest.param(f"{TEMPORARY}123", id="half a marker"),
]


@pytest.mark.parametrize("name", LEFTOVERS)
def test_leftovers_are_found_and_removed_with_their_folders(full: Store, name: str):
    before = tree(Path(full.uri))
    folders = {path for path in Path(full.uri).rglob("*") if path.is_dir()}
    full.blobs.put_new(name, b"12345")
    assert find(full) == [(name, 5)]
    assert collect(full) == ([(name, 5)], [])
    assert tree(Path(full.uri)) == before
    left = {path for path in Path(full.uri).rglob("*") if path.is_dir()}
    assert left - {Path(full.uri) / "drivers"} == folders, "the folder of the drivers stays, others may be starting"


def test_how_a_stage_failed_is_kept_until_it_succeeds(full: Store):
    full.blobs.put_new(place_of(UNFINISHED).file(FAILURE), b"{}")
    assert find(full) == []


def test_finding_changes_nothing(full: Store):
    full.blobs.put_new(place_of(UNFINISHED).file(FILE), b"x")
    flip(path_of(full, A, RECORD), at=200)
    before = tree(Path(full.uri))
    find(full)
    assert tree(Path(full.uri)) == before


@given(st.lists(st.tuples(st.sampled_from(["x", "y", "z"]), st.booleans(), st.booleans()), max_size=5))
def test_what_a_record_names_is_never_garbage(tmp_path_factory: pytest.TempPathFactory, plan):
    store = Store.open(str(tmp_path_factory.mktemp("store")), create=True)
    kept, left = {MARKER}, set()
    for n, (name, committed, noise) in enumerate(plan):
        stage = node(str(n))
        entries = [store.write(stage, name, b"data"), store.write(stage, "second.bin", b"more")]
        files = {place_of(stage).file(entry.name) for entry in entries}
        if committed:
            store.commit(record_of(stage, entries, {}, 0, ""))
            kept |= files | {place_of(stage).file(RECORD)}
        else:
            left |= files
        if noise:
            left.add(place_of(stage).file("noise.bin"))
            store.write(stage, "noise.bin", b"x")
    assert set(garbage_names(store)) == left
    collect(store)
    assert set(tree(Path(store.uri))) == kept


def test_the_artifact_of_a_damaged_record_is_left_for_people_to_look_at(full: Store):
    flip(path_of(full, A, RECORD), at=200)
    assert find(full) == []


def test_after_damage_a_failure_and_a_rebuild_only_artifacts_are_left(store: Store, ran: list[str]):
    toys.HOOKS["b"] = refuse
    run_inline([B], store)
    toys.HOOKS.clear()
    flip(path_of(store, A))
    with Leases(store) as leases:
        leases.take(B)
        run_inline([B], store)
    assert [name.partition("/")[0] for name in garbage_names(store)] == ["quarantine", "toy_text"]
    collect(store)
    assert content(store, B)["files"] == {FILE: "b(a())"}
    files = {MARKER, place_of(A).file("value~1.txt"), place_of(B).file(FILE)}
    files |= {place_of(stage).file(RECORD) for stage in (A, B)}
    assert set(tree(Path(store.uri))) == files | {f"attempts/{B.kind.name}/{B.key}.json"}


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "logs/20260101T000000/driver.log",
        "sweeps/s/notes/mine.txt",
        # Regression: any two folders in a store were taken for a stage and a key, and `nrf gc` deleted what was inside.
        "analysis/figures/figure-3.pdf",
        ".git/refs/heads",
        "toy_text/notes/mine.txt",
    ],
)
def test_files_of_people_are_not_garbage(full: Store, name: str):
    path = Path(full.uri) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    assert find(full) == []


def test_a_missing_store_has_no_garbage(tmp_path: Path):
    assert find(Store.open(str(tmp_path / "none"), create=False)) == []
