"""A store into which somebody has put what does harm: nothing outside it is read, written, moved or deleted."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nrf_ray.errors import CorruptArtifact, StoreError
from nrf_ray.graph import record as record_module
from nrf_ray.graph.blobs import Blobs
from nrf_ray.graph.canonical import canonical_json, digest
from nrf_ray.graph.execute import execute, run_inline
from nrf_ray.graph.garbage import collect
from nrf_ray.graph.record import Record
from nrf_ray.graph.store import RECORD, Store, place_of
from tests.graph.toys import FILE, chain, content, path_of, tree

STAGE, USER = chain("stage", "user")
SECRET = b"a file of somebody else"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder outside every store, with a file that has to stay as it is."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / FILE).write_bytes(SECRET)
    (folder / RECORD).write_bytes(SECRET)
    return folder


BAD_NAMES = [
    "../outside/value.txt",
    "a/../../outside/value.txt",
    "/etc/passwd",
    "a//b",
    "a/./b",
    "",
    ".",
    "..",
    "a/",
    "a\0b",
]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_no_name_leads_out_of_a_store(tmp_path: Path, outside: Path, in_memory: str, name: str, kind: str):
    blobs = Blobs(str(tmp_path / "store") if kind == "disk" else in_memory, create=True)
    blobs.put_new("x", b"inside")
    before = tree(tmp_path)
    calls: list[Callable[[], object]] = [
        lambda: blobs.get(name),
        lambda: blobs.get_json(name),
        lambda: blobs.exists(name),
        lambda: blobs.put_new(name, b"new"),
        lambda: blobs.replace(name, b"new"),
        lambda: blobs.move("x", name),
        lambda: blobs.move(name, "y"),
        lambda: blobs.delete(name),
    ]
    for call in calls:
        with pytest.raises(StoreError, match="is not a file name in a store"):
            call()
    assert tree(tmp_path) == before


@pytest.mark.parametrize("where", ["toy_text", "key", "drivers", "quarantine", "sweeps", "target"])
def test_a_link_that_leads_out_is_not_followed(store: Store, outside: Path, where: str):
    root = store.blobs.root
    assert root is not None
    place = place_of(STAGE)
    links = {"toy_text": root / "toy_text", "key": root / "toy_text" / place.key, "target": path_of(store, STAGE)}
    link = links.get(where, root / where)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside / FILE if where == "target" else outside)
    prefix = where if where in ("drivers", "quarantine", "sweeps") else f"toy_text/{place.key}"
    file = f"{prefix}/{FILE}"
    calls: list[Callable[[], object]] = [lambda: store.blobs.get(file), lambda: execute(STAGE, store)]
    if where != "target":  # the link itself may be deleted, and a file be put in its place
        calls += [
            lambda: store.blobs.replace(file, b"overwritten"),
            lambda: store.blobs.put_new(f"{prefix}/new.txt", b"x"),
            lambda: store.blobs.delete(file),
            lambda: store.blobs.move(file, "x/moved"),
        ]
    refused = 0
    for call in [*calls, lambda: collect(store)]:
        try:
            call()
        except StoreError as error:
            refused += "link" in str(error)
    assert refused >= min(5, len(calls) - 1)
    assert tree(outside) == {FILE: SECRET, RECORD: SECRET}
    assert link.is_symlink()


def test_a_store_that_is_itself_a_link_is_a_store(tmp_path: Path, ran: list[str]):
    (tmp_path / "disk").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "disk")
    store = Store.open(str(tmp_path / "runs"), create=True)
    run_inline([USER], store)
    assert content(Store.open(str(tmp_path / "disk"), create=False), USER)["files"] == {FILE: "user(stage())"}


@pytest.mark.parametrize("what", ["pipe", "link to itself", "folder"])
def test_what_is_no_file_neither_blocks_nor_ends_in_a_traceback(store: Store, what: str, ran: list[str]):
    path = path_of(store, STAGE, RECORD)
    path.parent.mkdir(parents=True)
    match what:
        case "pipe":
            os.mkfifo(path)
        case "link to itself":
            path.symlink_to(path)
        case _:
            path.mkdir()
    with pytest.raises(StoreError) as caught:
        store.peek(place_of(STAGE))
    assert str(path) in str(caught.value)
    assert str(path) in run_inline([STAGE], store).errors[STAGE.key]


def signed(body: dict[str, object]) -> bytes:
    """Return a record with a right checksum, as anybody can make one."""
    return json.dumps({**body, "checksum": digest(canonical_json(body).encode())}).encode()


HOSTILE = {
    "a path up": lambda body: body["files"][0].update(name="../../../outside/value.txt"),
    "an absolute path": lambda body: body["files"][0].update(name="/etc/passwd"),
    "a path down": lambda body: body["files"][0].update(name="a/b"),
    "the record itself": lambda body: body["files"][0].update(name="record.json"),
    "a number": lambda body: body["files"][0].update(name=7),
    "a copy up": lambda body: body["files"][0].update(copy="/../../../outside/value.txt"),
    "a copy below none": lambda body: body["files"][0].update(copy=-1),
    "unknown fields": lambda body: body["files"][0].update(run="me"),
    "files that are text": lambda body: body.update(files="value.txt"),
    "no files": lambda body: body.pop("files"),
    "one more field": lambda body: body.update(surprise=1),
    "another stage": lambda body: body.update(stage="../outside"),
}


@pytest.mark.parametrize("change", HOSTILE)
def test_a_record_that_somebody_forged_is_damaged(store: Store, outside: Path, change: str, ran: list[str]):
    execute(STAGE, store)
    body = json.loads(path_of(store, STAGE, RECORD).read_bytes())
    del body["checksum"]
    HOSTILE[change](body)
    path_of(store, STAGE, RECORD).write_bytes(signed(body))
    with pytest.raises(CorruptArtifact):
        store.peek(place_of(STAGE))
    run_inline([USER], store)
    assert content(store, STAGE)["files"] == {FILE: "stage()"}
    collect(store)
    assert tree(outside) == {FILE: SECRET, RECORD: SECRET}


@pytest.mark.parametrize(
    "data", [b"[" * 200_000, b'{"a":' * 100_000, b"\xff" * 1000, b"1e999", b'"' + b"a" * 10**6 + b'"']
)
def test_a_record_that_is_meant_to_exhaust_its_reader_is_damaged(store: Store, data: bytes, ran: list[str]):
    execute(STAGE, store)
    path_of(store, STAGE, RECORD).write_bytes(data)
    with pytest.raises(CorruptArtifact):
        store.artifact(STAGE)
    assert execute(STAGE, store).metrics["length"] == 0


def test_nothing_secret_is_kept(store: Store, monkeypatch: pytest.MonkeyPatch, ran: list[str]):
    secrets = ["wJalrXUtnFEMI-secret", "tok3n-of-somebody", "pa55word"]
    for name, value in zip(("AWS_SECRET_ACCESS_KEY", "RAY_AUTH_TOKEN", "HF_TOKEN"), secrets, strict=True):
        monkeypatch.setenv(name, value)
    argv = ["sweep.py", "--store", f"s3://KEY:{secrets[0]}@bucket/runs", f"--address=ray://me:{secrets[1]}@host:10001"]
    argv += [f"https://host/set.parquet?sig={secrets[2]}&x=1", "a@b.c", "s3://bucket/runs", "tensors:/data@cifar10"]
    monkeypatch.setattr(sys, "argv", argv)
    record_module.launch_provenance.cache_clear()
    try:
        run_inline([USER], store)
        kept = Record.from_bytes(path_of(store, USER, RECORD).read_bytes(), "toy_text", USER.key).provenance["argv"]
    finally:
        record_module.launch_provenance.cache_clear()
    assert kept == [
        *("sweep.py", "--store", "s3://***@bucket/runs", "--address=ray://***@host:10001"),
        *("https://host/set.parquet?***", "a@b.c", "s3://bucket/runs", "tensors:/data@cifar10"),
    ]
    everything = b"".join(tree(Path(store.uri)).values())
    assert not [secret for secret in secrets if secret.encode() in everything]
