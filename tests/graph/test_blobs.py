"""Blobs: whole or not at all, one winner, nothing left over; the same on a disk and in an object store."""

import errno
import os
import threading
from pathlib import Path

import pytest

from nrf_ray.errors import StoreError
from nrf_ray.graph import folder as module
from nrf_ray.graph.blobs import Blob, Blobs, local_root
from nrf_ray.graph.store import Store
from tests.graph.toys import tree

NAMES = [
    "plain",
    "a b/c d.txt",
    "ü/ñ é.bin",
    "日本/データ.txt",
    "x%20y/50%",
    "a#b?c",
    "sub/+plus&[1]*.txt",
    "e\u0301/x",
]


@pytest.fixture(params=["disk", "memory", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    match request.param:
        case "disk":
            return Blobs(str(tmp_path / "blobs"), create=True)
        case "s3":
            return Blobs(request.getfixturevalue("new_uri")(), create=True)
    return Blobs(request.getfixturevalue("in_memory"), create=True)


@pytest.fixture
def disk(tmp_path: Path) -> Blobs:
    return Blobs(str(tmp_path / "blobs"), create=True)


def root_of(blobs: Blobs) -> Path:
    assert blobs.root is not None
    return blobs.root


@pytest.mark.parametrize("name", NAMES)
def test_a_name_goes_through_its_whole_life(blobs: Blobs, name: str):
    assert (blobs.get(name), blobs.exists(name)) == (None, False)
    assert blobs.put_new(name, b"one")
    assert not blobs.put_new(name, b"two")
    assert (blobs.get(name), blobs.exists(name)) == (b"one", True)
    blobs.replace(name, b"three")
    assert blobs.under() == [Blob(name, 5)]
    blobs.move(name, f"away/{name}")
    assert (blobs.get(name), blobs.get(f"away/{name}")) == (None, b"three")
    blobs.delete(f"away/{name}")
    assert blobs.under() == []


def test_names_are_paths_on_a_disk(disk: Blobs):
    for name in NAMES:
        disk.put_new(name, name.encode())
    assert tree(root_of(disk)) == {name: name.encode() for name in NAMES}


@pytest.mark.parametrize("data", [b"", b"\0", bytes(range(256)) * 5000], ids=["empty", "zero", "large"])
def test_any_bytes_come_back(blobs: Blobs, data: bytes):
    assert blobs.put_new("x", data)
    assert blobs.get("x") == data


def test_moving_and_deleting_what_is_gone_does_nothing(blobs: Blobs):
    blobs.move("gone", "target")
    blobs.delete("gone")
    blobs.delete("gone/deeper")
    assert blobs.under() == []


def test_updating_with_the_same_bytes_changes_nothing(blobs: Blobs):
    assert blobs.update("a/b", b"1")
    assert not blobs.update("a/b", b"1")
    assert blobs.update("a/b", b"2")
    assert blobs.get("a/b") == b"2"


def test_under_and_folders_take_whole_folder_names(blobs: Blobs):
    for name in ("a/1/x", "a/2/x", "a/2/y", "ab/1/x", "top"):
        blobs.put_new(name, b"")
    assert [blob.name for blob in blobs.under("a")] == ["a/1/x", "a/2/x", "a/2/y"]
    assert (blobs.folders(), blobs.folders("a"), blobs.folders("none")) == (["a", "ab"], ["1", "2"], [])
    assert blobs.under("none") == []


def test_put_new_has_one_winner_of_eight_threads(blobs: Blobs):
    for round_ in range(10):
        gate, won = threading.Barrier(8), [False] * 8

        def put(n: int, gate: threading.Barrier = gate, won: list[bool] = won, round_: int = round_) -> None:
            gate.wait()
            won[n] = blobs.put_new(f"r/{round_}", bytes([n]) * 1000)

        threads = [threading.Thread(target=put, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert won.count(True) == 1
        assert blobs.get(f"r/{round_}") == bytes([won.index(True)]) * 1000
    assert len(blobs.under()) == 10, "no temporary files are left"


def test_replace_shows_readers_whole_values_only(disk: Blobs):
    values = {bytes([n]) * (100_000 + n) for n in range(3)}
    disk.put_new("x", min(values))
    stop, seen = threading.Event(), set()

    def read() -> None:
        while not stop.is_set():
            seen.add(disk.get("x"))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(20):
        for value in values:
            disk.replace("x", value)
    stop.set()
    reader.join()
    assert seen <= values
    assert list(tree(root_of(disk))) == ["x"]


@pytest.mark.parametrize("step", ["_write_synced", "_publish"])
@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free some space, then run the same command again"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only; choose another --store"),
        (errno.EACCES, "you do not have permission"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EIO, "check it, then run the same command again"),
    ],
    ids=lambda value: errno.errorcode.get(value, "") if isinstance(value, int) else "",
)
def test_an_error_of_the_disk_names_file_and_remedy_and_leaves_nothing(
    disk: Blobs, monkeypatch: pytest.MonkeyPatch, step: str, number: int, remedy: str
):
    disk.put_new("a/x", b"old")
    real = getattr(module, step)

    def fail(path: Path, data: bytes, *rest: object) -> None:
        if step == "_write_synced":
            real(path, data[:2], *rest)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module, step, fail)
    for write in (disk.put_new, disk.replace):
        with pytest.raises(StoreError) as caught:
            write("a/x" if write == disk.replace else "b/new", b"new bytes")
        assert remedy in str(caught.value)
        assert os.strerror(number) in str(caught.value)
        assert str(root_of(disk)) in str(caught.value)
    assert tree(root_of(disk)) == {"a/x": b"old"}


def test_a_file_where_a_folder_should_be_is_a_store_error(disk: Blobs):
    # Regression: removing the temporary file, which was never made, raised NotADirectoryError over the StoreError.
    (root_of(disk) / "train").write_text("not a folder")
    with pytest.raises(StoreError, match="cannot write"):
        disk.put_new("train/key/record.json", b"x")


def test_what_has_its_name_has_been_synced_before(disk: Blobs, monkeypatch: pytest.MonkeyPatch):
    done: list[str] = []
    fsync, link = os.fsync, os.link
    monkeypatch.setattr(os, "fsync", lambda f: (done.append(f"sync {os.path.isdir(f'/proc/self/fd/{f}')}"), fsync(f)))
    monkeypatch.setattr(os, "link", lambda a, b: (done.append("link"), link(a, b)))
    disk.put_new("a/x", b"data")
    assert done == ["sync True", "sync False", "link", "sync True"], "new folder's name, data, link, file's name"


def test_a_missing_folder_reads_as_empty_and_is_not_made(tmp_path: Path):
    blobs = Blobs(str(tmp_path / "none"), create=False)
    assert (blobs.get("x"), blobs.exists("x"), blobs.under(), blobs.folders()) == (None, False, [], [])
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("create", [True, False])
def test_a_file_is_refused(tmp_path: Path, create: bool):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="is a file; choose a folder with --store"):
        Blobs(str(tmp_path / "file"), create=create)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be created: Not a directory; choose another --store"):
        Blobs(str(tmp_path / "file" / "store"), create=True)


def test_a_uri_of_no_known_kind_is_refused():
    with pytest.raises(StoreError, match=r"no store can be opened at gopher://x/y; give a folder, or s3://"):
        Blobs("gopher://x/y", create=True)


def test_which_uris_are_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert local_root("./runs") == tmp_path / "runs"
    assert local_root(f"file://{tmp_path}/a b") == tmp_path / "a b"
    assert local_root("s3://bucket/runs") is None
    assert local_root("a:b/c") == tmp_path / "a:b" / "c"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert local_root("~/runs") == tmp_path / "home" / "runs", "--store=~/runs reaches us as it is"
    assert local_root(f"{tmp_path}/~/runs") == tmp_path / "~" / "runs"


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        pytest.param("", "is empty, or starts or ends with white space", id="empty"),
        pytest.param("  ", "is empty, or starts or ends with white space", id="blanks"),
        pytest.param(" runs", "is empty, or starts or ends with white space", id="blank before"),
        pytest.param("s3://bucket/runs\n", "is empty, or starts or ends with white space", id="line end after"),
        pytest.param("s3:/bucket/runs", "write s3://bucket/runs, or ./s3:/bucket/runs for a folder", id="one slash"),
        pytest.param("s3:bucket/runs", "write s3://bucket/runs, or ./s3:bucket/runs for a folder", id="no slash"),
        pytest.param("hdfs:/runs", "write hdfs://runs, or", id="one slash of others"),
        pytest.param("file:/runs", "write file:///runs, or", id="file"),
        pytest.param("file://runs", "is not an absolute path; write file:///PATH", id="file of a host"),
        pytest.param("~no-such-user-here/x", "home folder of a user who is unknown here", id="user"),
        pytest.param("memory:///", "no store can be opened at memory:///; give a folder, or s3://BUCKET", id="memory"),
    ],
)
def test_addresses_that_would_make_odd_folders_are_refused(
    uri: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError) as caught:
        Store.open(uri, create=True)
    assert words in str(caught.value)
    assert list(tmp_path.iterdir()) == []
