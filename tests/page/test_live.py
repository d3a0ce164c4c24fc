"""The page of a run from its start to its end: written on time, right in every state, and never the run's undoing."""

import hashlib
import json
import re
import threading
import time
from pathlib import Path

import pytest

from nrf_ray.errors import ClusterError, MissingArtifact, StoreFailed
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.execute import execute, run_inline
from nrf_ray.graph.frontier import Frontier, Progress
from nrf_ray.graph.headway import Headway
from nrf_ray.graph.plan import make_plan
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import Store
from nrf_ray.page import live
from nrf_ray.page.live import RunPage
from nrf_ray.page.working import read_working
from nrf_ray.results.write import write_tables
from nrf_ray.sweep.sweep import Sweep
from tests.cluster.toys import Toy, sweep_of, toy
from tests.graph import s3

FIRST = toy(Toy(name="first")).named("the first")
SECOND = toy(Toy(name="second"), first=FIRST).named("the second")
SWEEP = sweep_of(FIRST, SECOND)


class Bench:
    """A run whose progress a test decides."""

    def __init__(self, root: Path | str, sweep: Sweep = SWEEP) -> None:
        self.store = Store.open(str(root), create=True)
        self.sweep = sweep
        plan = make_plan(sweep.goals, self.store)
        self.frontier = Frontier(plan.todo())
        self.said: list[str] = []
        self.page = RunPage(sweep, plan, self.store, expected=60.0, say=self.said.append)
        self.runs: list[Stage] = []
        self.told: Headway | None = None

    def at_work(self) -> list[Stage]:
        return list(self.runs)

    def headway(self) -> dict[Key, Headway]:
        return {stage.key: self.told for stage in self.runs if self.told}

    def run_one(self) -> None:
        """Run the next stage."""
        stage = self.frontier.next_ready()
        execute(stage, self.store)
        self.frontier.done(stage.key)

    def text(self) -> str:
        data = self.store.blobs.get(self.page.name)
        return (data or b"").decode()

    def state(self) -> str:
        return "".join(re.findall(r'class="state">(\w+)<', self.text()))

    def wait_for(self, words: str) -> None:
        deadline = time.monotonic() + 60
        while words not in self.text():
            assert time.monotonic() < deadline, words
            time.sleep(0.01)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(live, "LOCAL_SECONDS", 0.01)
    monkeypatch.setattr(live, "PAGE_SHARE", 0)
    monkeypatch.setattr(live, "TABLE_SHARE", 0)
    return Bench(tmp_path / "store")


def test_a_page_keeps_up_with_its_run(bench: Bench) -> None:
    with bench.page:
        with bench.page.watching(bench, bench.said.append):
            bench.wait_for("In the store: 0 of 2 stages")
            assert bench.state() == "Running"
            assert "1 min expected" in bench.text()
            bench.runs.append(bench.frontier.next_ready())
            bench.wait_for("Stages that run now")
            bench.wait_for('<th class="name" scope="row">the first</th><td class="name">toy</td>')
            bench.told = Headway(unit="epochs", done=1, total=4, share=0.25, values={"loss": 2.0}, left=90.0)
            bench.wait_for('aria-label="the first: 25% done"><rect x="0" y="0" width="25.00%"')
            bench.wait_for('<td class="name">1 of 4 epochs, loss 2</td>')
            bench.wait_for('<td class="number">1 min 30 s</td>')
            (at_work,) = read_working(bench.store, "toys").stages
            assert (at_work["key"], Headway.from_json(at_work["headway"])) == (FIRST.key, bench.told)
            execute(FIRST, bench.store)
            bench.runs.clear()
            bench.frontier.done(FIRST.key)
            bench.wait_for("In the store: 1 of 2 stages. Complete: 1 of 2 rows")
            bench.run_one()
        bench.page.finish(write_tables(SWEEP, bench.store, bench.frontier).frames)
    assert bench.state() == "Finished"
    assert "In the store: 2 of 2 stages. Complete: 2 of 2 rows" in bench.text()
    assert not bench.store.blobs.exists("sweeps/toys/working.json")
    assert "data-refresh" not in bench.text().partition("<style>")[0]
    assert bench.said == []
    told = json.loads(bench.store.blobs.get("sweeps/toys/run.json"))
    assert (told["state"], told["ended"] > told["began"]) == ("finished", True)
    assert threading.active_count() == 1 or all("_watch" not in thread.name for thread in threading.enumerate())


def test_everything_in_the_store_makes_a_finished_page(tmp_path: Path) -> None:
    run_inline(SWEEP.goals, Store.open(str(tmp_path), create=True))
    bench = Bench(tmp_path)
    with bench.page:
        bench.page.finish(write_tables(SWEEP, bench.store).frames)
    assert bench.state() == "Finished"
    assert "In the store: 2 of 2 stages, 2 from before" in bench.text()


def test_a_run_keeps_the_digest_of_the_file_that_was_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "toys.py"
    script.write_text("a sweep\n")
    told = {}
    for words in (str(script), "-c"):
        monkeypatch.setattr("sys.argv", [words])
        bench = Bench(tmp_path / "store")
        with bench.page:
            bench.page.finish({})
        told[words] = find_script(bench.store)
    assert told == {str(script): hashlib.sha256(script.read_bytes()).hexdigest(), "-c": ""}


def find_script(store: Store) -> str:
    return json.loads(store.blobs.get("sweeps/toys/run.json"))["script_sha256"]


def test_a_run_with_failures_ends_in_a_page_that_names_them(tmp_path: Path) -> None:
    broken = toy(Toy(name="broken", fault="raises")).named("the broken")
    bench = Bench(tmp_path, sweep_of(broken, toy(Toy(name="after"), first=broken)))
    with bench.page:
        with bench.page.watching(bench, bench.said.append):
            stage = bench.frontier.next_ready()
            bench.store.note_failure(stage, "ValueError: no", "Traceback: no")
            bench.frontier.fail(stage.key, "ValueError: no")
        bench.page.finish(write_tables(bench.sweep, bench.store, bench.frontier).frames)
    assert bench.state() == "Failed"
    assert "Failed: 1 stage. Left out because of that: 1 stage." in bench.text()
    assert "Traceback: no" in bench.text()


def test_examples_that_cannot_be_read_leave_a_finished_run_finished(bench: Bench, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise MissingArtifact("a shard is gone")

    monkeypatch.setattr("nrf_ray.page.collect.update_galleries", refuse)
    monkeypatch.setattr(bench.page, "_sets", [FIRST, SECOND])
    with bench.page:
        with bench.page.watching(bench, bench.said.append):
            bench.run_one()
            bench.wait_for("In the store: 1 of 2 stages. Complete: 1 of 2 rows")
            bench.run_one()
        bench.page.finish(write_tables(SWEEP, bench.store, bench.frontier).frames)
    assert bench.state() == "Finished"
    assert json.loads(bench.store.blobs.get("sweeps/toys/run.json"))["state"] == "finished"
    assert len(bench.said) == 1
    assert "a shard is gone" in bench.said[0]


def test_a_run_that_ended_too_early_is_no_success(bench: Bench) -> None:
    with bench.page:
        with bench.page.watching(bench, bench.said.append):
            pass
        bench.page.finish({})
    assert bench.state() == "Failed"
    assert "It ended before all stages had run" in bench.text()


@pytest.mark.slow
def test_a_bucket_has_pages_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "REMOTE_SECONDS", 0.01)
    monkeypatch.setattr(live, "PAGE_SHARE", 0)
    with s3.running() as address:
        for name, value in s3.environment(address).items():
            monkeypatch.setenv(name, value)
        bench = Bench(f"s3://{s3.BUCKET}/runs")
        with bench.page:
            with bench.page.watching(bench, bench.said.append):
                bench.wait_for("In the store: 0 of 2 stages")
                bench.run_one()
                bench.run_one()
            bench.page.finish(write_tables(SWEEP, bench.store, bench.frontier).frames)
        assert bench.state() == "Finished"
        assert "Curves are kept in local stores only." in bench.text()
        assert f"nrf status --store s3://{s3.BUCKET}/runs" in bench.text()
        assert bench.said == []


@pytest.mark.parametrize(
    ("error", "state", "words"),
    [
        (KeyboardInterrupt(), "Interrupted", "run the same command again to resume"),
        (ClusterError("no memory <left>"), "Failed", "ClusterError: no memory &lt;left&gt;"),
    ],
    ids=["Ctrl-C", "an error"],
)
@pytest.mark.parametrize("watched", [True, False], ids=["while it ran", "afterwards"])
def test_a_run_that_is_cut_off_says_so(
    bench: Bench, error: BaseException, state: str, words: str, watched: bool
) -> None:
    def cut_off() -> None:
        with bench.page:
            if not watched:
                raise error
            with bench.page.watching(bench, bench.said.append):
                bench.run_one()
                bench.wait_for("1 of 2 stages")
                raise error

    with pytest.raises(type(error)):
        cut_off()
    assert bench.state() == state
    assert words in bench.text()
    last = bench.text()
    time.sleep(0.05)
    assert bench.text() == last, "nobody writes after the end"


def test_an_error_after_the_last_page_does_not_change_it(bench: Bench) -> None:
    def fail_late() -> None:
        with bench.page:
            with bench.page.watching(bench, bench.said.append):
                bench.run_one()
                bench.run_one()
            bench.page.finish({})
            raise ClusterError("late")

    with pytest.raises(ClusterError):
        fail_late()
    assert bench.state() == "Finished"


def test_a_page_that_cannot_be_written_is_said_once_and_stops_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def full(name: str, data: bytes) -> None:
        tried.append(name)
        raise StoreFailed("the disk is full")

    monkeypatch.setattr(bench.store.blobs, "replace", full)
    with bench.page:
        with bench.page.watching(bench, bench.said.append):
            while len(tried) < 5:
                time.sleep(0.01)
            bench.frontier.done(bench.frontier.next_ready().key)
        bench.page.finish({})
    assert bench.said == ["cannot write the report; the run continues without it: StoreFailed: the disk is full"]
    assert bench.frontier.state[FIRST.key] is Progress.DONE


def test_a_page_takes_a_fiftieth_of_the_time_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a page that takes 20 ms, the next begins a second after it."""
    monkeypatch.setattr(live, "LOCAL_SECONDS", 0.0)
    began: list[float] = []

    def slow(known: object) -> bytes:
        began.append(time.monotonic())
        time.sleep(0.02)
        return b""

    monkeypatch.setattr(live, "document", slow)
    bench = Bench(tmp_path)
    with bench.page.watching(bench, bench.said.append):
        deadline = time.monotonic() + 60
        while len(began) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert began[1] - began[0] >= 51 * 0.02
