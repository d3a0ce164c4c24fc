"""A store in a bucket, against a real S3 server: all that holds on a disk holds there; what fails says what to do."""

import http.server
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from nrf_ray import cli
from nrf_ray.errors import CorruptArtifact, StoreError, StoreFailed
from nrf_ray.graph import bucket, checkpoints
from nrf_ray.graph.blobs import Blobs
from nrf_ray.graph.execute import execute, run_inline
from nrf_ray.graph.garbage import collect, find
from nrf_ray.graph.lease import Leases, running_elsewhere
from nrf_ray.graph.plan import make_plan
from nrf_ray.graph.stage import walk
from nrf_ray.graph.store import FAILURE, MARKER, RECORD, Store, place_of
from tests.graph import toys
from tests.graph.s3 import BUCKET, ROOT, environment
from tests.graph.toys import FILE, Toy, chain, content, node, pieces, refuse
from tests.sweeps import transfer_grid

BASE, MIDDLE = chain("base", "middle")
PARTS = pieces(Toy(name="parts"), first=BASE)
TOP = node("top", MIDDLE, PARTS)
NewUri = Callable[[], str]


def names(store: Store) -> list[str]:
    return [blob.name for blob in store.blobs.under()]


# Opening


def test_a_store_is_made_once_and_found_again(new_uri: NewUri):
    uri = new_uri()
    assert not Store.open(uri, create=False).is_there
    assert Blobs(uri, create=False).under() == [], "looking writes nothing"
    for _ in range(2):
        store = Store.open(uri, create=True)
    assert (store.is_there, names(store)) == (True, [MARKER])
    assert json.loads(store.blobs.get(MARKER) or b"") == {"schema": 1}


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("where", ["at its top", "deep"])
def test_a_prefix_that_holds_things_of_others_is_refused(new_uri: NewUri, create: bool, where: str):
    uri = new_uri()
    Blobs(uri, create=True).put_new("thesis.tex" if where == "at its top" else "a/b/c/thesis.tex", b"mine")
    with pytest.raises(StoreError, match=f"is not empty and is no nrf_ray store .it has no {MARKER}.; choose an empty"):
        Store.open(uri, create=create)
    assert len(Blobs(uri, create=False).under()) == 1


def test_a_prefix_that_begins_like_anothers_is_its_own(new_uri: NewUri):
    uri = new_uri()
    Blobs(f"{uri}-other", create=True).put_new("thesis.tex", b"mine")
    store = Store.open(uri, create=True)
    assert names(store) == [MARKER]
    collect(store)
    assert len(Blobs(f"{uri}-other", create=False).under()) == 1


def test_a_service_that_overwrites_what_must_be_new_is_refused(new_uri: NewUri, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bucket.Bucket, "put_new", lambda self, name, data: self.replace(name, data) or True)
    with pytest.raises(StoreError, match=r"does not refuse to write what exists .If-None-Match.*with --store"):
        Store.open(new_uri(), create=True)


# Running


def test_a_whole_graph_runs_and_is_found_again(new_uri: NewUri, ran: list[str]):
    store = Store.open(new_uri(), create=True)
    with Leases(store) as leases:
        assert [leases.take(stage) for stage in walk([TOP])] == [None] * 4
        with Leases(store) as other:
            assert other.take(BASE) == running_elsewhere(store, BASE) is not None
        run_inline([TOP], store)
        for stage in walk([TOP]):
            leases.release(stage)
    assert content(store, TOP)["files"] == {FILE: "top(middle(base()),parts(base()))"}
    assert sorted(content(store, PARTS)["files"]) == ["part 1.txt", "part 2.txt", FILE]
    assert (len(ran), make_plan([TOP], store).todo(), find(store)) == (4, [], [])
    run_inline([TOP], Store.open(store.uri, create=True))
    assert len(ran) == 4, "nothing runs twice"


@pytest.mark.parametrize("name", [FILE, RECORD])
@pytest.mark.parametrize("damage", [lambda data: data[:-3], lambda data: bytes([data[0] ^ 1]) + data[1:], None])
def test_damage_is_found_set_aside_and_built_again(new_uri: NewUri, ran: list[str], name: str, damage):
    store = Store.open(new_uri(), create=True)
    run_inline([MIDDLE], store)
    blob = place_of(BASE).file(name)
    if damage:
        store.blobs.replace(blob, damage(store.blobs.get(blob)))
    else:
        store.blobs.delete(blob)
    if damage or name == FILE:
        with pytest.raises(CorruptArtifact):
            store.artifact(BASE).read(FILE)
        assert not store.has(BASE)
        assert len(store.blobs.folders("quarantine")) == 1
    run_inline([node("user", BASE)], store)
    assert content(store, BASE)["files"] == {FILE: "base()"}
    collect(store)
    assert store.blobs.under("quarantine") == find(store) == []


def test_failures_checkpoints_and_leftovers_come_and_go(new_uri: NewUri, ran: list[str]):
    store = Store.open(new_uri(), create=True)
    toys.HOOKS["base"] = refuse
    run_inline([BASE], store)
    assert store.failure(BASE) == "ValueError: base was told to fail"
    assert store.path_of(FAILURE) == f"{store.uri}/{FAILURE}"
    toys.HOOKS.clear()
    store.write(BASE, "left.bin", b"no run writes this")
    for step in (1, 2):
        checkpoints.save(store, BASE, step, b"state %d" % step)
    assert checkpoints.latest(store, BASE) == b"state 2"
    execute(BASE, store)
    assert (store.failure(BASE), checkpoints.latest(store, BASE)) == (None, None)
    assert [blob.name for blob in collect(store)[0]] == [place_of(BASE).file("left.bin")]
    kept = {name for name in names(store) if not name.startswith("attempts/")}
    assert kept == {MARKER, *(place_of(BASE).file(name) for name in (FILE, RECORD))}


WRITER = """
import sys
from nrf_ray.graph.blobs import Blobs
blobs = Blobs(sys.argv[1], create=True)
print("ready", flush=True)
sys.stdin.readline()
won = [n for n in range(25) if blobs.put_new(f"x/{n}", sys.argv[2].encode() * 1000)]
print(*won)
"""


def test_two_processes_that_write_the_same_names_share_them_out(new_uri: NewUri):
    uri = new_uri()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, uri, who], text=True, cwd=ROOT, **pipes) for who in "ab"]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.readline()
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    won = [{int(n) for n in writer.communicate()[0].split()} for writer in writers]
    assert won[0].isdisjoint(won[1])
    assert won[0] | won[1] == set(range(25))
    blobs = Blobs(uri, create=False)
    for who, theirs in zip("ab", won, strict=True):
        assert all(blobs.get(f"x/{n}") == who.encode() * 1000 for n in theirs)


# What is cut off


@contextmanager
def proxy_to(address: str, limit: int, *, stall: bool) -> Iterator[tuple[str, threading.Event]]:
    """Pass connections on to the server at `address`; after `limit` bytes up, cut them, or (with `stall`) wait."""
    upstream = (address.removeprefix("http://").split(":")[0], int(address.rpartition(":")[2]))
    reached, end = threading.Event(), threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def up(client: socket.socket, server: socket.socket) -> None:
        passed = 0
        with suppress(OSError), client, server:
            while passed < limit and (data := client.recv(min(65536, limit - passed))):
                server.sendall(data)
                passed += len(data)
            if passed >= limit:
                reached.set()
                end.wait(20 if stall else 0)

    def down(client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)

    def accept() -> None:
        with suppress(OSError):
            while True:
                pair = listener.accept()[0], socket.create_connection(upstream)
                for work in (up, down):
                    threading.Thread(target=work, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", reached
        end.set()


def parts_waiting(address: str) -> int:
    """Return how many multipart uploads somebody has begun and not finished."""
    with urllib.request.urlopen(f"{address}/{BUCKET}?uploads") as answer:
        return answer.read().count(b"<UploadId>")


BIG = 12 * 2**20
SIGNED = {
    "Content-Type": "application/octet-stream",
    "Authorization": "AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/s3/aws4_request,SignedHeaders=host,Signature=0",
}


@pytest.mark.parametrize("method", ["put_new", "replace"])
def test_an_upload_that_is_cut_off_leaves_nothing(
    new_uri: NewUri, s3_address: str, monkeypatch: pytest.MonkeyPatch, method: str
):
    uri = new_uri()
    monkeypatch.setattr(bucket, "RETRIES", 1)
    with proxy_to(s3_address, BIG // 2, stall=False) as (proxy, reached):
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy)
        cut = Blobs(uri, create=True)
        cut.put_new("x/small", b"goes through")
        with pytest.raises(StoreFailed, match="cannot be used"):
            getattr(cut, method)("x/big", bytes(BIG))
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_address)
    whole = Blobs(uri, create=True)
    assert reached.is_set()
    assert ([blob.name for blob in whole.under()], parts_waiting(s3_address)) == (["x/small"], 0)
    assert whole.put_new("x/big", bytes(BIG)), "and it can be written then"
    assert whole.under() == [("x/big", BIG), ("x/small", 12)]


def test_a_process_killed_in_an_upload_leaves_nothing(new_uri: NewUri, s3_address: str):
    uri = new_uri()
    script = (
        f"import sys; from nrf_ray.graph.blobs import Blobs; Blobs(sys.argv[1], create=True).put_new('x', bytes({BIG}))"
    )
    with proxy_to(s3_address, BIG // 2, stall=True) as (proxy, reached):
        variables = {**os.environ, **environment(proxy)}
        writer = subprocess.Popen([sys.executable, "-c", script, uri], cwd=ROOT, env=variables)
        assert reached.wait(20)
        writer.kill()
        writer.wait()
    blobs = Blobs(uri, create=True)
    assert (blobs.under(), parts_waiting(s3_address)) == ([], 0)
    assert blobs.put_new("x", b"now")


def test_parts_that_somebody_uploaded_are_no_blob(new_uri: NewUri, s3_address: str):
    uri = new_uri()
    place = f"{s3_address}/{uri.removeprefix('s3://')}/x"

    def send(address: str, method: str, data: bytes) -> bytes:
        with urllib.request.urlopen(urllib.request.Request(address, data, SIGNED, method=method)) as answer:
            return answer.read()

    upload = re.findall(rb"<UploadId>(.*?)</UploadId>", send(f"{place}?uploads", "POST", b""))[0].decode()
    send(f"{place}?partNumber=1&uploadId={upload}", "PUT", bytes(6 * 2**20))
    assert parts_waiting(s3_address) == 1
    blobs = Blobs(uri, create=True)
    assert (blobs.get("x"), blobs.exists("x"), blobs.under()) == (None, False, [])
    assert blobs.put_new("x", b"mine")
    send(f"{place}?uploadId={upload}", "DELETE", b"")
    assert blobs.get("x") == b"mine"


# Errors


@contextmanager
def answering(status: int, code: str) -> Iterator[str]:
    """Serve the same answer to every request."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            body = f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def open_badly(uri: str = f"s3://{BUCKET}/p") -> str:
    """Return the one line with which a store is refused, within seconds."""
    began = time.monotonic()
    with pytest.raises(StoreError) as caught:
        Store.open(uri, create=True)
    assert time.monotonic() - began < 8
    text = str(caught.value)
    assert "\n" not in text
    assert "not-a-secret-but-looked-for" not in text
    return text


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (403, "AccessDenied", "S3 denies it; see whether the credentials are right and may read and write there"),
        (401, "InvalidToken", "S3 denies it"),
        (404, "NoSuchBucket", "there is no such bucket; make it first"),
        (301, "PermanentRedirect", "region"),
        (503, "SlowDown", "503 Service Unavailable"),
        (500, "InternalError", "500 Internal Server Error"),
    ],
)
def test_what_the_service_says_is_explained(
    s3_address: str, monkeypatch: pytest.MonkeyPatch, status: int, code: str, words: str
):
    monkeypatch.setattr(bucket, "RETRIES", 2)
    with answering(status, code) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        assert words in open_badly()


def test_a_bucket_that_is_missing_is_said(s3_address: str):
    assert "there is no such bucket; make it first" in open_badly("s3://no-such-bucket/p")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"AWS_ALLOW_HTTP": None}, "its address is plain http; set AWS_ALLOW_HTTP=true where you trust the network"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "nothing answers there; see whether the address is right"),
        (
            {"AWS_SECRET_ACCESS_KEY": None, "AWS_ACCESS_KEY_ID": None},
            "no credentials were found; set AWS_ACCESS_KEY_ID",
        ),
    ],
    ids=["http", "server down", "no credentials"],
)
def test_an_environment_that_leads_nowhere_is_explained(
    s3_address: str, monkeypatch: pytest.MonkeyPatch, change: dict[str, str | None], words: str
):
    monkeypatch.setattr(bucket, "RETRIES", 3)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")  # what answers there on a machine of the cloud
    for name, value in change.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    assert words in open_badly()


@pytest.mark.parametrize(
    "uri", ["gs://bucket/p", "az://container/p", "abfs://container@account.dfs.core.windows.net/p"]
)
def test_other_clouds_go_the_same_way(uri: str, monkeypatch: pytest.MonkeyPatch, s3_address: str):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    blobs = Blobs(uri, create=True)
    assert (blobs.root, blobs.uri) == (None, uri)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        (
            "s3://KEY:not-a-secret-but-looked-for@bucket/p",
            r"s3://\*\*\*@bucket/p was given with credentials in its addr",
        ),
        ("s3://KEY@bucket/p", "where others can read them; leave them out and set AWS_ACCESS_KEY_ID"),
        ("az://container/p?sig=not-a-secret-but-looked-for", r"az://container/p\?\*\*\* was given with credentials"),
        ("s3://", "names no bucket; write s3://BUCKET/PREFIX"),
        ("http://bucket.s3.amazonaws.com/p", "no store can be opened at http://bucket.s3.amazonaws.com/p; give a fold"),
        ("az://container/p", "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY"),
    ],
)
def test_addresses_that_mean_no_store_are_refused(uri: str, words: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    assert re.search(words, open_badly(uri))


def test_a_service_that_goes_away_is_a_named_error_of_the_stage(
    new_uri: NewUri, s3_address: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bucket, "RETRIES", 1)
    uri = new_uri()
    Store.open(uri, create=True)
    with proxy_to(s3_address, 10**9, stall=False) as (address, _):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        store = Store.open(uri, create=False)
    with pytest.raises(StoreFailed) as caught:
        execute(BASE, store)
    assert caught.value.exit_code == 1
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_address)
    assert execute(BASE, Store.open(uri, create=False)).metrics["length"] == 0


# The command line


def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", list(words))
    with pytest.raises(SystemExit) as exit_:
        cli.nrf_main() if words[0] == "nrf" else cli.sweep_main(transfer_grid.transfer_grid)
    out = capsys.readouterr()
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, out.out, out.err


def test_nrf_looks_into_a_bucket(new_uri: NewUri, ran: list[str], monkeypatch, capsys):
    uri = new_uri()
    code, _, err = call(monkeypatch, capsys, "nrf", "status", "--store", uri)
    assert (code, f"there is no store at {uri}" in err) == (2, True)
    store = Store.open(uri, create=True)
    run_inline([MIDDLE], store)
    store.write(TOP, "left.bin", b"12345")
    assert "toy          2 done, 1 unfinished" in call(monkeypatch, capsys, "nrf", "status", "--store", uri)[1]
    assert BASE.key in call(monkeypatch, capsys, "nrf", "show", BASE.key[:9], "--store", uri)[1]
    assert "first = toy" in call(monkeypatch, capsys, "nrf", "why", MIDDLE.key[:9], "--store", uri)[1]
    assert call(monkeypatch, capsys, "nrf", "verify", "--store", uri)[:2] == (0, "2 artifacts read, 0 damaged\n")
    assert "1 files, 5 bytes removed" in call(monkeypatch, capsys, "nrf", "gc", "--store", uri)[1]
    store.blobs.replace(place_of(BASE).file(FILE), b"BASE()")
    code, out, err = call(monkeypatch, capsys, "nrf", "verify", "--quarantine", "--store", uri)
    assert (code, "right size but other bytes" in out, "Traceback" in err) == (1, True, False)


def test_a_sweep_is_planned_against_a_bucket(new_uri: NewUri, monkeypatch, capsys):
    uri = new_uri()
    flags = ("--preset", "smoke", "--plan", "--store", uri)
    code, out, _ = call(monkeypatch, capsys, "transfer_grid.py", *flags)
    assert (code, "ready" in out) == (0, True)
    assert Blobs(uri, create=False).under() == [], "a plan writes nothing"
    Blobs(uri, create=True).put_new("thesis.tex", b"mine")
    code, _, err = call(monkeypatch, capsys, "transfer_grid.py", *flags)
    assert (code, "is no nrf_ray store" in " ".join(err.split()), "Traceback" in err) == (2, True, False)
