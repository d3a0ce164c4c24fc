"""A store: artifacts exist whole or not at all, and damaged ones are found on reading and moved away."""

import errno
import json
import os
from pathlib import Path

import pytest

from nrf_ray.errors import CorruptArtifact, MissingArtifact, StoreError, StoreFailed
from nrf_ray.graph import folder as folder_module
from nrf_ray.graph.execute import execute
from nrf_ray.graph.garbage import collect
from nrf_ray.graph.record import record_of
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import MARKER, RECORD, Store, place_of
from tests.graph.toys import FILE, flip, garbage_names, node, path_of, tree


def build(store: Store, stage: Stage, files: dict[str, bytes]) -> bool:
    entries = [store.write(stage, name, data) for name, data in files.items()]
    return store.commit(record_of(stage, entries, {"n": len(files)}, 0.5, "now"))


def quarantined(store: Store) -> dict[str, bytes]:
    """Return what lies in the quarantine, by the end of its name."""
    blobs = store.blobs.under("quarantine")
    return {blob.name.split("/", 2)[2]: store.blobs.get(blob.name) or b"" for blob in blobs}


# Opening


def test_open_makes_a_store_once(tmp_path: Path):
    for _ in range(2):
        Store.open(str(tmp_path / "new" / "store"), create=True)
    assert {name: json.loads(data) for name, data in tree(tmp_path).items()} == {f"new/store/{MARKER}": {"schema": 1}}


@pytest.mark.parametrize("make", [False, True], ids=["missing", "empty"])
def test_open_without_create_writes_nothing(tmp_path: Path, make: bool):
    folder = tmp_path / "store"
    if make:
        folder.mkdir()
    store = Store.open(str(folder), create=False)
    assert not store.has(node("x"))
    assert list(store.places()) == []
    assert tree(tmp_path) == {}
    assert folder.exists() == make


def test_open_takes_a_folder_that_holds_only_a_cut_off_marker(tmp_path: Path):
    (tmp_path / f"{folder_module.TEMPORARY}abc").write_bytes(b'{"sch')
    store = Store.open(str(tmp_path), create=True)
    assert build(store, node("x"), {})


def _file(folder: Path) -> None:
    folder.write_text("x")


def _foreign(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.tex").write_text("x")


def _marked(text: str):
    def make(folder: Path) -> None:
        folder.mkdir()
        (folder / MARKER).write_text(text)

    return make


@pytest.mark.parametrize("create", [True, False], ids=["create", "look"])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(_file, "is a file", id="a file"),
        pytest.param(_foreign, "not empty and is not an nrf_ray store", id="a folder of other things"),
        pytest.param(_marked('{"schema": 2}'), "schema 2, made by a newer nrf_ray", id="newer schema"),
        pytest.param(_marked("{"), "not readable", id="marker cut off"),
        pytest.param(_marked(""), "not readable", id="marker empty"),
        pytest.param(_marked("[]"), "not readable", id="marker is a list"),
        pytest.param(_marked("{}"), "not readable", id="marker without schema"),
        pytest.param(_marked('{"schema": null}'), "not readable", id="schema is null"),
    ],
)
def test_open_refuses_and_changes_nothing(tmp_path: Path, make, words: str, create: bool):
    make(tmp_path / "store")
    before = tree(tmp_path)
    with pytest.raises(StoreError, match=words) as caught:
        Store.open(str(tmp_path / "store"), create=create)
    assert "--store" in str(caught.value)
    assert caught.value.exit_code == 2
    assert tree(tmp_path) == before


def test_open_refuses_a_folder_that_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(StoreError, match="is not writable; choose another --store"):
        Store.open(str(tmp_path), create=True)
    assert tree(tmp_path) == {}
    Store.open(str(tmp_path), create=False)


# Committing


def test_nothing_exists_before_the_record(store: Store):
    stage = node("x")
    entry = store.write(stage, "a.bin", b"data")
    assert not store.has(stage)
    with pytest.raises(MissingArtifact, match=f"x .toy_text/{stage.key}. is not in the store"):
        store.artifact(stage)
    store.commit(record_of(stage, [entry], {}, 0, ""))
    assert store.has(stage)
    assert store.artifact(stage).read("a.bin") == b"data"


def test_the_first_commit_stands(store: Store):
    stage = node("x")
    first, second = (record_of(stage, [], {"n": n}, n, "now") for n in (1, 2))
    assert [store.commit(first), store.commit(second), store.commit(first)] == [True, False, False]
    assert store.artifact(stage).record == first


def test_committing_forgets_the_failure(store: Store):
    stage = node("x")
    where = store.note_failure(stage, "ValueError: no", "Traceback ...")
    assert store.failure(stage) == "ValueError: no"
    assert json.loads(Path(where).read_text())["traceback"] == "Traceback ..."
    build(store, stage, {})
    assert store.failure(stage) is None
    assert not Path(where).exists()


def test_places_are_those_of_stages(store: Store):
    one, two = node("1"), node("2")
    build(store, one, {FILE: b"x"})
    store.write(two, FILE, b"x")
    for name in ("sweeps/s/results.parquet", "drivers/d.json", "quarantine/q/toy_text/k/x", "logs/l/x"):
        store.blobs.put_new(name, b"")
    assert set(store.places()) == {place_of(one), place_of(two)}


def test_path_of_names_a_place_that_a_person_can_open(store: Store):
    assert store.path_of("a/b") == f"{store.uri}/a/b"


# Reading


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


DAMAGES = [
    pytest.param(cut, "has 9 bytes instead of 10", id="cut off"),
    pytest.param(lengthen, "has 11 bytes instead of 10", id="lengthened"),
    pytest.param(flip, "right size but other bytes", id="flipped"),
    pytest.param(Path.unlink, "is gone", id="gone"),
    pytest.param(lambda path: path.write_bytes(b""), "has 0 bytes", id="emptied"),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGES)
def test_a_damaged_file_is_never_returned(store: Store, damage, words: str):
    stage = node("x")
    build(store, stage, {"a.bin": b"0123456789", "b.bin": b"other"})
    artifact = store.artifact(stage)
    damage(path_of(store, stage, "a.bin"))
    assert store.problems(artifact.record)[0].startswith("a.bin ")
    assert store.has(stage), "looking for problems changes nothing"
    with pytest.raises(CorruptArtifact, match=words) as caught:
        artifact.read("a.bin")
    assert (caught.value.stage, caught.value.key) == ("toy_text", stage.key)
    assert "Run the same sweep again" in str(caught.value)
    assert not store.has(stage)
    assert set(quarantined(store)) == {f"toy_text/{stage.key}/{RECORD}"}
    sound = path_of(store, stage, "b.bin").stat()
    assert build(store, stage, {"a.bin": b"0123456789", "b.bin": b"other"}), "it can be built again"
    assert store.artifact(stage).read("a.bin") == b"0123456789"
    assert path_of(store, stage, "b.bin").stat() == sound, "and what was sound is kept"
    collect(store)
    assert store.problems(store.artifact(stage).record) == []
    assert [blob.name.rpartition("/")[2] for blob in store.blobs.under("toy_text")] == [
        "a.bin" if "gone" in words else "a~1.bin", "b.bin", RECORD
    ]  # fmt: skip


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(flip, id="flipped"),
        pytest.param(cut, id="cut off by its line end only"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:40]), id="cut off"),
        pytest.param(lambda path: path.write_bytes(b""), id="emptied"),
    ],
)
def test_a_damaged_record_is_never_believed(store: Store, damage):
    stage = node("x")
    build(store, stage, {"a.bin": b"x"})
    before = store.artifact(stage).record
    damage(path_of(store, stage, RECORD))
    try:
        assert store.artifact(stage).record == before
    except CorruptArtifact:
        assert not store.has(stage)
        assert set(quarantined(store)) == {f"toy_text/{stage.key}/{RECORD}"}
        assert store.record(place_of(stage)) is None


def test_a_record_copied_to_another_key_is_damaged(store: Store):
    one, two = node("1"), node("2")
    build(store, one, {})
    store.blobs.put_new(place_of(two).file(RECORD), path_of(store, one, RECORD).read_bytes())
    with pytest.raises(CorruptArtifact, match="place"):
        store.artifact(two)
    assert store.has(one)
    assert not store.has(two)


def test_quarantine_of_what_is_not_there_is_nothing(store: Store):
    store.quarantine(record_of(node("x"), [], {}, 0, ""))
    assert list(tree(Path(store.uri))) == [MARKER]


# Writing


def test_write_keeps_an_equal_leftover(store: Store):
    stage = node("x")
    first = store.write(stage, FILE, b"same")
    before = path_of(store, stage).stat()
    assert store.write(stage, FILE, b"same") == first
    after = path_of(store, stage).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert quarantined(store) == {}


@pytest.mark.parametrize("left", [b"diff", b"longer than it", b""], ids=["same size", "longer", "empty"])
def test_write_leaves_other_bytes_alone_and_takes_the_next_name(store: Store, left: bytes):
    stage = node("x")
    store.blobs.put_new(place_of(stage).file(FILE), left)
    entry = store.write(stage, FILE, b"mine")
    assert [leftover.data for leftover in store.unfinished(stage, FILE)] == [left, b"mine"]
    assert store.write(stage, FILE, b"mine") == entry, "the same bytes are found again"
    store.commit(record_of(stage, [entry], {}, 0, ""))
    assert store.artifact(stage).read(FILE) == b"mine"
    assert garbage_names(store) == [place_of(stage).file(FILE)]
    collect(store)
    assert store.artifact(stage).read(FILE) == b"mine"
    assert store.problems(store.artifact(stage).record) == []


def test_of_two_runs_with_other_bytes_whichever_commits_tells_the_truth(store: Store):
    # Regression: the second run moved the first one's file away, and the record of the first was of the second's bytes.
    stage = node("x")
    for first in (0, 1):
        entries = [store.write(stage, FILE, data) for data in (b"of host A", b"of host B")]
        assert store.commit(record_of(stage, [entries[first]], {"n": first}, 0, ""))
        assert not store.commit(record_of(stage, [entries[1 - first]], {"n": 1 - first}, 0, ""))
        assert store.write(stage, FILE, b"of host C").copy == 2
        artifact = store.artifact(stage)
        assert (artifact.record.metrics, artifact.read(FILE)) == ({"n": first}, [b"of host A", b"of host B"][first])
        store.quarantine(artifact.record)


def test_a_file_that_was_removed_while_its_stage_was_at_work_is_not_committed(store: Store):
    stage = node("x")
    entry = store.write(stage, FILE, b"data")
    path_of(store, stage).unlink()
    with pytest.raises(StoreFailed, match=f"{FILE} of toy_text/{stage.key} was removed while the stage ran"):
        store.commit(record_of(stage, [entry], {}, 0, ""))
    assert not store.has(stage)


def test_a_quarantine_that_comes_late_leaves_what_was_built_since(store: Store, monkeypatch: pytest.MonkeyPatch):
    # Regression: a run that slept between seeing the damage and moving the files moved those of another run away.
    stage = node("x")
    build(store, stage, {"a.bin": b"old", "b.bin": b"same"})
    damaged = store.artifact(stage).record
    flip(path_of(store, stage, "a.bin"))
    real = store.blobs.move

    def late(source: str, target: str) -> None:
        monkeypatch.setattr(store.blobs, "move", real)
        store.quarantine(damaged)
        build(store, stage, {"a.bin": b"new", "b.bin": b"same"})
        real(source, target)

    monkeypatch.setattr(store.blobs, "move", late)
    store.quarantine(damaged)
    artifact = store.artifact(stage)
    assert (artifact.read("a.bin"), artifact.read("b.bin")) == (b"new", b"same")
    assert len(store.blobs.under("quarantine")) == 1, "the damaged one"


@pytest.mark.parametrize("name", ["a/b", "..", ".", "", "x~1", "record.json", "lease.json", ".tmp-1", "a\0b", "a\\b"])
def test_names_that_no_file_may_have_are_refused(store: Store, name: str):
    with pytest.raises(StoreError, match="cannot be the name of a file of an artifact"):
        store.write(node("x"), name, b"data")
    assert list(tree(Path(store.uri))) == [MARKER]


def test_a_full_disk_names_the_remedy_and_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch):
    real = folder_module._write_synced

    def full(path: Path, data: bytes) -> None:
        real(path, data[:3])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    stage = node("x")
    before = tree(Path(store.uri))
    with monkeypatch.context() as patch:
        patch.setattr(folder_module, "_write_synced", full)
        with pytest.raises(StoreError, match="No space left on device; free some space, then run the same command"):
            execute(stage, store)
    assert tree(Path(store.uri)) == before
    assert not store.has(stage)
    assert execute(stage, store).metrics["length"] == 0, "with space again, the same call works"
