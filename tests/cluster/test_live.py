"""What a person sees while a sweep runs: the line, the table, the stall, and nothing of what others print."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from nrf_ray.cluster import live
from nrf_ray.cluster.capacity import Capacity, Node
from nrf_ray.cluster.search import StageSearcher
from nrf_ray.graph import headway
from nrf_ray.graph.frontier import Frontier
from nrf_ray.graph.lease import Leases
from nrf_ray.graph.stage import walk
from nrf_ray.graph.store import Store
from tests.cluster.toys import Toy, sweep_of, toy

FIRST = toy(Toy(name="first", seconds=3.0)).named("the first toy")
SECOND = toy(Toy(name="second", seconds=3.0), first=FIRST).named("the second toy")


def view(store: Store, leases: Leases, terminal: bool) -> tuple[live.LiveView, StageSearcher, io.StringIO]:
    out = io.StringIO()
    searcher = StageSearcher(Frontier(list(walk([SECOND]))), store, leases, Capacity(lambda: {"a node": Node(2, 0)}))
    console = Console(file=out, width=160, force_terminal=terminal)
    return live.LiveView(console, sweep_of(FIRST, SECOND), searcher, lambda: "1 CPUs"), searcher, out


def test_the_line_counts_stages_and_table_rows(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"), create=True)
    with Leases(store) as leases:
        shown, searcher, _ = view(store, leases, terminal=False)
        assert "0/2 stages | 0/2 table rows" in shown.line()
        assert searcher.suggest("trial") == {
            "key": FIRST.key,
            "label": "the first toy",
            "cpus": 1.0,
            "gpus": 0.0,
            "actors": 0,
        }
        assert searcher.suggest("another") is None, "the second toy waits for the first"
        searcher.on_trial_complete("trial", {"end": "done", "seconds": 1.0})
        assert "1/2 stages | 1/2 table rows" in shown.line()


EPOCHS = headway.Headway(unit="epochs", done=1, total=4, share=0.5, values={"accuracy": 0.5}, rate=812.0, left=9.0)


def test_the_line_says_how_far_running_stages_are_and_its_time_left_counts_them(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"), create=True)
    others = [toy(Toy(name=f"{n}", seconds=4.0)).named(f"toy {n}") for n in range(3)]
    with Leases(store) as leases:
        out, nodes = io.StringIO(), {"a node": Node(3, 0)}
        searcher = StageSearcher(Frontier(others), store, leases, Capacity(lambda: nodes))
        shown = live.LiveView(Console(file=out, width=400), sweep_of(*others), searcher, lambda: "")
        for n in range(3):
            searcher.suggest(f"trial {n}")
        assert "about 4 s of work" in shown.line(), "12 s on 3 CPUs"
        searcher.reports["trial 0"] = EPOCHS
        assert shown.line().endswith("about 3 s of work | toy 0: 1 of 4 epochs, accuracy .500, 812 images/s")
        searcher.reports |= {"trial 1": EPOCHS, "trial 2": EPOCHS, "a trial that is over": EPOCHS}
        assert shown.line().endswith("; toy 1: 1 of 4 epochs, accuracy .500, 812 images/s; 1 more")
        assert "about 9 s left" in shown.line(), "half of 12 s is done; no stage ends before its own time"


def test_a_terminal_shows_a_bar_for_each_running_stage(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"), create=True)
    with Leases(store) as leases:
        shown, searcher, out = view(store, leases, terminal=True)
        searcher.suggest("trial")
        searcher.reports["trial"] = EPOCHS
        with shown:
            pass
    text = out.getvalue()
    assert all(word in text for word in ("running: the first toy", "1 of 4 epochs, accuracy .500", "9.0 s left"))


def test_a_terminal_shows_a_table_of_kinds_and_states(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"), create=True)
    with Leases(store) as leases:
        shown, searcher, out = view(store, leases, terminal=True)
        searcher.suggest("trial")
        with shown:
            pass
    text = out.getvalue()
    assert all(word in text for word in ("waiting", "running", "blocked", "toy", "running: the first toy"))


def test_a_stall_says_what_waits_for_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "STALL_SECONDS", 0.0)
    store = Store.open(str(tmp_path / "store"), create=True)
    with Leases(store) as leases:
        shown, searcher, out = view(store, leases, terminal=False)
        searcher.suggest("trial")
        with shown:
            shown._stop.wait(1.2)
    text = " ".join(out.getvalue().split())
    assert "Handed out: the first toy (expected 3 s)" in text
    assert "1 stages wait for these. Free on the cluster: 1 CPUs" in text


def test_output_of_other_code_goes_to_the_log_and_ours_to_the_terminal(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "ray.log"
    code = (
        "import os, sys, pathlib; from nrf_ray.cluster.quiet import output_to\n"
        f"with output_to(pathlib.Path({str(log)!r})) as console:\n"
        "    print('from python'); os.write(1, b'from C\\n'); os.write(2, b'from C, too\\n')\n"
        "    console.print('for people')\n"
        "print('afterwards')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.splitlines() == ["for people", "afterwards"]
    assert done.stderr == ""
    assert sorted(log.read_text().splitlines()) == ["from C", "from C, too", "from python"]
