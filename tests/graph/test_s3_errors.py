"""A store in a bucket that cannot be used: one line, soon, that says what to do and shows no secret."""

import http.server
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from nrf_ray.errors import StoreError
from nrf_ray.graph import bucket
from nrf_ray.graph.blobs import Blobs
from nrf_ray.graph.store import Store
from tests.graph.s3 import BUCKET


@contextmanager
def answering(status: int, code: str) -> Iterator[tuple[str, list[str]]]:
    """Serve the same answer to every request; give the address, and the requests as they come."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked.append(self.requestline)
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
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def open_badly(uri: str = f"s3://{BUCKET}/p") -> str:
    """Return the one line with which a store is refused, soon."""
    began = time.monotonic()
    with pytest.raises(StoreError) as caught:
        Store.open(uri, create=True)
    assert time.monotonic() - began < 30, "left to itself, obstore tries for a minute"
    text = str(caught.value)
    assert "\n" not in text
    assert "not-a-secret-but-looked-for" not in text
    return text


@pytest.mark.parametrize(
    ("status", "code", "tries", "words"),
    [
        (403, "AccessDenied", 1, "S3 denies access; check the credentials and their rights to read and write there"),
        (401, "InvalidToken", 1, "S3 denies access"),
        (404, "NoSuchBucket", 1, "there is no such bucket; make it first"),
        (301, "PermanentRedirect", 1, "region"),
        (503, "SlowDown", 3, "503 Service Unavailable"),
        (500, "InternalError", 3, "500 Internal Server Error"),
    ],
)
def test_what_the_service_says_is_explained(
    s3_address: str, monkeypatch: pytest.MonkeyPatch, status: int, code: str, tries: int, words: str
):
    monkeypatch.setattr(bucket, "RETRIES", 2)
    with answering(status, code) as (address, asked):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        assert words in open_badly()
    assert len(asked) == tries, "what may pass is tried again, and what will not is not"


def test_a_bucket_that_is_missing_is_said(s3_address: str):
    assert "there is no such bucket; make it first" in open_badly("s3://no-such-bucket/p")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"AWS_ALLOW_HTTP": None}, "its address is plain http; set AWS_ALLOW_HTTP=true if you trust the network"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "nothing answers there; check the address and the network"),
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
