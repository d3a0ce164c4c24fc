"""A store in a bucket, against a real S3 server: all that holds on a disk holds there."""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from nrf_ray import cli
from nrf_ray.errors import CorruptArtifact, StoreError
from nrf_ray.graph import bucket, checkpoints
from nrf_ray.graph.blobs import Blobs
from nrf_ray.graph.execute import execute, run_inline
from nrf_ray.graph.garbage import collect, find
from nrf_ray.graph.lease import Leases, running_elsewhere
from nrf_ray.graph.plan import make_plan
from nrf_ray.graph.stage import walk
from nrf_ray.graph.store import FAILURE, MARKER, RECORD, Store, place_of
from tests.graph import toys
from tests.graph.s3 import ROOT
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
    with pytest.raises(
        StoreError, match=f"is not empty and is not an nrf_ray store .it has no {MARKER}.; choose an empty"
    ):
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
    with pytest.raises(StoreError, match=r"ignores conditional writes .If-None-Match.* for --store"):
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


# The command line


def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", list(words))
    with pytest.raises(SystemExit) as exit_:
        cli.nrf_main() if words[0] == "nrf" else cli.sweep_main(transfer_grid.transfer_grid, transfer_grid.FLAGS)
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
    assert "toy_text     2 done, 1 unfinished" in call(monkeypatch, capsys, "nrf", "status", "--store", uri)[1]
    assert BASE.key in call(monkeypatch, capsys, "nrf", "show", BASE.key[:9], "--store", uri)[1]
    assert "first = toy_text" in call(monkeypatch, capsys, "nrf", "why", MIDDLE.key[:9], "--store", uri)[1]
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
    assert (code, "is not an nrf_ray store" in " ".join(err.split()), "Traceback" in err) == (2, True, False)
