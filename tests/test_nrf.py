"""The `nrf` command: it looks, names what is damaged, and deletes only what no record names."""

import json
from pathlib import Path

import pytest

from nrf_ray.graph import folder
from nrf_ray.graph.drivers import Heart
from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.headway import Headway
from nrf_ray.graph.lease import Leases
from nrf_ray.graph.plan import make_plan
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import Store
from nrf_ray.page.snapshot import StageFact, Standing, Working
from nrf_ray.page.working import working_file, working_name
from nrf_ray.results.write import write_tables
from tests.cluster.toys import Toy, sweep_of, toy
from tests.commands import nrf


@pytest.fixture
def chain(tmp_path: Path) -> tuple[Path, Stage, Stage]:
    """A store with two committed toys, the second made from the first."""
    store = Store.open(str(tmp_path / "store"), create=True)
    first = toy(Toy(name="first"))
    second = toy(Toy(name="second"), first=first)
    run_inline([second], store)
    return tmp_path / "store", first, second


def test_status_counts_by_stage_and_state(chain, monkeypatch, capsys) -> None:
    store, *_ = chain
    fails = toy(Toy(name="fails", fault="raises"))
    run_inline([fails], Store.open(str(store), create=True))
    code, out, _ = nrf(monkeypatch, capsys, "status", "--store", str(store))
    assert code == 0
    assert "toy          2 done, 1 failed" in out
    assert f"failed: toy {fails.key[:12]}: ValueError: fails was told to fail" in out
    code, out, _ = nrf(monkeypatch, capsys, "show", fails.key[:10], "--store", str(store))
    assert code == 0
    assert "in misbehave\n" in out, "the traceback"


def at_work(first: Stage, **changes: object) -> bytes:
    """What a run of this process says of `first`, of which one epoch of four is done."""
    fact = StageFact(
        kind="toy", key=first.key, title="the first", inputs=(), level=0, standing=Standing.RUNNING, reason=""
    )
    told = Headway(unit="epochs", done=1, total=4, share=0.25, values={"loss": 1.5}, left=90.0)
    found = json.loads(working_file([Working(fact=fact, since=30.0, expected=100.0, headway=told)], 300.0))
    return json.dumps(found | changes).encode()


def test_status_says_how_far_the_stages_of_living_runs_are(chain, monkeypatch, capsys) -> None:
    root, first, _ = chain
    store = Store.open(str(root), create=False)
    store.blobs.replace(working_name("toys@wide"), at_work(first))
    _, out, _ = nrf(monkeypatch, capsys, "status", "--store", str(root))
    assert "the first" not in out, "a run that was killed left the file"
    with Heart(store.blobs, "run"):
        _, out, _ = nrf(monkeypatch, capsys, "status", "--store", str(root))
    lines = out.splitlines()
    assert [line for line in lines if line.startswith("  toys@wide: 1 stages at work, about 5 min left (as of ")]
    assert "    toy the first: 1 of 4 epochs, loss 1.5, about 1 min 30 s left" in lines


@pytest.mark.parametrize(
    "changes",
    [
        {"process": {"pid": 1}},
        {"process": None},
        {"written": "2026-01-01"},
        {"left": "soon"},
        {"left": float("nan")},
        {"stages": [1]},
        {"stages": [{"key": "k"}]},
        {"stages": [{"key": "k", "kind": "toy", "title": 3, "since": 1.0, "expected": None, "headway": None}]},
    ],
)
def test_a_damaged_file_of_a_run_at_work_hides_nothing_else(changes, chain, monkeypatch, capsys) -> None:
    root, first, _ = chain
    store = Store.open(str(root), create=False)
    store.blobs.replace(working_name("toys"), at_work(first, **changes))
    with Heart(store.blobs, "run"):
        code, out, _ = nrf(monkeypatch, capsys, "status", "--store", str(root))
    assert code == 0
    assert "running: process" in out
    assert "at work" not in out


def test_show_prints_the_record(chain, monkeypatch, capsys) -> None:
    store, first, _ = chain
    code, out, _ = nrf(monkeypatch, capsys, "show", first.key[:10], "--store", str(store))
    assert code == 0
    assert first.key in out
    assert '"name": "first"' in out


def test_why_walks_down_to_what_a_key_is_made_of(chain, monkeypatch, capsys) -> None:
    store, first, second = chain
    code, out, _ = nrf(monkeypatch, capsys, "why", second.key, "--store", str(store))
    assert code == 0
    assert out.index(second.key[:12]) < out.index(f"first = toy {first.key[:12]}")


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "record"])
def test_verify_names_what_is_damaged_and_changes_nothing(damage: str, chain, monkeypatch, capsys) -> None:
    store, first, _ = chain
    assert nrf(monkeypatch, capsys, "verify", "--store", str(store))[0] == 0
    folder = store / "toy" / first.key
    match damage:
        case "flip":
            (folder / "value.txt").write_bytes(b"2")
        case "truncate":
            (folder / "value.txt").write_bytes(b"")
        case "remove":
            (folder / "value.txt").unlink()
        case "record":
            text = (folder / "record.json").read_text().replace('"value": 1', '"value": 7')
            (folder / "record.json").write_text(text)
    before = sorted((path, path.stat().st_mtime_ns) for path in store.rglob("*"))
    code, out, err = nrf(monkeypatch, capsys, "verify", "--store", str(store))
    assert code == 1
    assert f"damaged: toy/{first.key}" in out
    assert err.count("\n") == 1
    assert sorted((path, path.stat().st_mtime_ns) for path in store.rglob("*")) == before


def test_verify_quarantine_lets_the_sweep_rebuild_what_is_damaged(chain, monkeypatch, capsys) -> None:
    store, _, second = chain
    (store / "toy" / second.key / "value.txt").write_bytes(b"7")
    opened = Store.open(str(store), create=True)
    assert not run_inline([second], opened).stages, "nothing reads what is cached, so nothing notices"
    code, _, err = nrf(monkeypatch, capsys, "verify", "--quarantine", "--store", str(store))
    assert (code, err.count("\n")) == (1, 1)
    assert set(run_inline([second], opened).stages) == {second.key}
    assert opened.artifact(second).read("value.txt") == b"2"
    assert nrf(monkeypatch, capsys, "verify", "--store", str(store))[0] == 0


@pytest.mark.parametrize("command", ["show", "why"])
def test_looking_at_a_damaged_record_changes_nothing(command: str, chain, monkeypatch, capsys) -> None:
    store, first, _ = chain
    record = store / "toy" / first.key / "record.json"
    record.write_bytes(record.read_bytes().replace(b'"value": 1', b'"value": 7'))
    before = sorted((path, path.stat().st_mtime_ns) for path in store.rglob("*"))
    code, _, err = nrf(monkeypatch, capsys, command, first.key, "--store", str(store))
    assert (code, err.count("\n")) == (1, 1)
    assert sorted((path, path.stat().st_mtime_ns) for path in store.rglob("*")) == before


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null"])
def test_damaged_notes_stop_no_command(text: str, chain, monkeypatch, capsys) -> None:
    store, first, _ = chain
    unfinished = toy(Toy(name="unfinished"), first=first)
    for name in ("lease.json", "failure.json"):
        path = store / "toy" / unfinished.key / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (store / "drivers").mkdir(exist_ok=True)
    (store / "drivers" / "a.json").write_text(text)
    opened = Store.open(str(store), create=False)
    assert len(make_plan([unfinished], opened).todo()) == 1
    for words in (["status"], ["gc", "--dry-run"]):
        assert nrf(monkeypatch, capsys, *words, "--store", str(store))[0] == 0


def test_gc_needs_no_help_where_a_driver_died_on_another_host(chain, monkeypatch, capsys) -> None:
    store, *_ = chain
    (store / "drivers").mkdir(exist_ok=True)
    owner = {"driver": "x", "work": "run", "host": "elsewhere", "machine": "m", "pid": 1, "started": "1", "beats": 3}
    (store / "drivers" / "x.json").write_text(json.dumps(owner))
    monkeypatch.setattr("nrf_ray.graph.drivers.STALE_SECONDS", 0.3)
    code, out, _ = nrf(monkeypatch, capsys, "gc", "--store", str(store))
    assert (code, "removed drivers/x.json" in out) == (0, True)


def test_gc_removes_leftovers_and_never_an_artifact(chain, monkeypatch, capsys) -> None:
    store, first, second = chain
    leftover = store / "toy" / ("0" * 64) / "value.txt"
    leftover.parent.mkdir()
    leftover.write_text("cut off")
    code, out, _ = nrf(monkeypatch, capsys, "gc", "--dry-run", "--store", str(store))
    assert (code, leftover.exists()) == (0, True)
    assert "would remove" in out
    assert nrf(monkeypatch, capsys, "gc", "--store", str(store))[0] == 0
    assert not leftover.parent.exists()
    opened = Store.open(str(store), create=False)
    assert [opened.artifact(stage).read("value.txt") for stage in (first, second)] == [b"1", b"2"]


def test_gc_refuses_while_a_run_works(chain, monkeypatch, capsys) -> None:
    store, *_ = chain
    with Leases(Store.open(str(store), create=True)):
        code, _, err = nrf(monkeypatch, capsys, "gc", "--store", str(store))
    assert code == 2
    assert "this store is in use (process " in err


def test_gc_gives_way_to_tables_that_are_being_written(chain, monkeypatch, capsys) -> None:
    """Regression: half a table looks like garbage, and the run that wrote it had said that it was done."""
    store, _, second = chain
    real, codes = folder._write_synced, []

    def collect_meanwhile(path: Path, data: bytes) -> None:
        real(path, data)
        if "sweeps" in path.parts:
            codes.append(nrf(monkeypatch, capsys, "gc", "--store", str(store))[0])

    monkeypatch.setattr(folder, "_write_synced", collect_meanwhile)
    tables = write_tables(sweep_of(second), Store.open(str(store), create=True)).frames
    assert codes == [2] * len(tables)
    assert nrf(monkeypatch, capsys, "gc", "--store", str(store))[:2] == (0, "0 files, 0 bytes removed\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(("show", "zz"), "no key starts with 'zz'", id="unknown key"),
        pytest.param(("show", ""), "2 keys start with ''", id="ambiguous key"),
        pytest.param(("status", "--store", "/nowhere/at/all"), "there is no store at /nowhere", id="no store"),
        pytest.param(("frobnicate",), "frobnicate", id="unknown command"),
    ],
)
def test_a_mistake_is_one_line(words: tuple[str, ...], message: str, chain, monkeypatch, capsys) -> None:
    where = () if "--store" in words or words[0] == "frobnicate" else ("--store", str(chain[0]))
    code, _, err = nrf(monkeypatch, capsys, *words, *where)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
