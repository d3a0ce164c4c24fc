"""A store in a bucket whose line is cut or whose writer is killed: half written is not written, and costs nothing."""

import os
import re
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from nrf_ray.errors import StoreFailed
from nrf_ray.graph import bucket
from nrf_ray.graph.blobs import Blobs
from nrf_ray.graph.execute import execute
from nrf_ray.graph.store import Store
from tests.graph.s3 import BUCKET, ROOT, environment
from tests.graph.toys import node

BASE = node("base")
NewUri = Callable[[], str]


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
