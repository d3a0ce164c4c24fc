"""The harness that the benchmarks are made of: statistics, interleaving, pinning, the table. No times are asserted."""

import os
import subprocess
import sys
from dataclasses import fields, replace
from functools import partial

import pytest

from tests.benchmarks.apart import apart
from tests.benchmarks.harness import Case, Contender, pinned, quartiles, report, result, run_case
from tests.benchmarks.processes import OthersWatch
from tests.benchmarks.table import SCHEMA, Result, merge_table, read_table


def row(case="a", contender="ours", samples=(1.0, 2.0, 4.0), **others):
    return result("toy", case, contender, list(samples), unit="images/s", threads=1, **others)


def test_median_and_quartiles_of_known_samples():
    assert quartiles([5.0]) == (5.0, 5.0, 5.0)
    assert quartiles([4.0, 1.0, 3.0, 2.0, 5.0]) == (2.0, 3.0, 4.0)
    assert quartiles([1.0, 2.0]) == (1.25, 1.5, 1.75)


def test_ratios_are_taken_within_rounds():
    """A machine that gets ten times slower changes both samples of a round, and no ratio."""
    theirs = row(samples=(10.0, 1.0, 0.1), first=[20.0, 2.0, 0.2])
    assert (theirs.ratio, theirs.ratio_q1, theirs.ratio_q3) == pytest.approx((2.0, 2.0, 2.0))
    assert theirs.median == 1.0


def test_a_table_keeps_what_was_measured_and_replaces_whole_cases(tmp_path):
    path = tmp_path / "new" / "toy.parquet"
    merge_table(path, [row("a", "ours", checks={"loss": 0.5}), row("a", "theirs")])
    merge_table(path, [row("b", "ours", samples=(7.0,))])
    merge_table(path, [row("a", "ours", samples=(3.0, 5.0))])
    rows = {(each.case, each.contender): each for each in read_table(path)}
    assert set(rows) == {("a", "ours"), ("b", "ours")}
    assert rows["a", "ours"].samples == [3.0, 5.0]
    assert rows["b", "ours"].n == 1
    assert {field.name for field in fields(Result)} == set(SCHEMA.names)
    assert list(tmp_path.rglob("*.new")) == []


def test_checks_and_machine_survive_the_file(tmp_path):
    merge_table(tmp_path / "t.parquet", [row(checks={"loss": 0.5})])
    (read,) = read_table(tmp_path / "t.parquet")
    assert read.checks == {"loss": 0.5}
    assert read.machine["torch"]
    assert os.uname().nodename not in read.machine.values()


def test_rounds_can_be_added_to_those_of_an_earlier_run(tmp_path, capsys):
    path = tmp_path / "toy.parquet"
    for ours, theirs in (([4.0], [2.0]), ([9.0, 8.0], [3.0, 1.0])):
        report(path, [row("a", "ours", samples=ours), row("a", "theirs", samples=theirs, first=ours)], add=True)
    ours, theirs = read_table(path)
    assert (ours.samples, theirs.samples) == ([4.0, 9.0, 8.0], [2.0, 3.0, 1.0])
    assert theirs.ratio == 3.0, "the median of 2, 3 and 8"
    assert "n = 3" in capsys.readouterr().out


def test_a_case_is_kept_for_each_kind_of_machine(tmp_path):
    path = tmp_path / "toy.parquet"
    here = row("a", "ours", samples=(1.0,))
    there = replace(here, samples=[5.0], machine={**here.machine, "isa": "of another one"})
    merge_table(path, [there])
    report(path, [here], add=True)
    assert [each.samples for each in read_table(path)] == [[5.0], [1.0]]


CHILD = """
import signal, subprocess, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
burn = "import time\\nwhile time.process_time() < 1: pass"
subprocess.Popen([sys.executable, "-c", burn]).wait()
"""


def test_the_work_of_a_process_that_nobody_waits_for_is_ours(monkeypatch):
    monkeypatch.setattr("tests.benchmarks.processes.LOOK_SECONDS", 0.05)
    with OthersWatch() as watch:
        before = watch.ours()
        subprocess.run([sys.executable, "-c", CHILD], check=True)
        assert watch.ours() - before > 0.7


def test_pinning_holds_inside_and_is_undone(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    allowed = os.sched_getaffinity(0)
    with pinned(1):
        assert len(os.sched_getaffinity(0)) == 1
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
    assert os.sched_getaffinity(0) == allowed
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_more_cpus_than_there_are_is_refused():
    with pytest.raises(SystemExit, match="may use"), pinned(10_000):
        pass


def note(log, name):
    with open(log, "a") as file:
        file.write(name)


def rivals(log):
    return [
        Contender(name=name, run=partial(note, log, name), work=8, check=lambda: {"cpus": len(os.sched_getaffinity(0))})
        for name in "ab"
    ]


def test_a_case_runs_interleaved_in_a_process_of_its_own(tmp_path):
    log = tmp_path / "log"
    case = Case(name="toy", contenders=partial(rivals, log), threads=1, unit="images")
    ours, theirs = run_case("toy", case, repeats=3)
    assert log.read_text() == "aabb" + "ab" + "ba" + "ab", "two warm-ups each, then rounds that begin with another each"
    assert (ours.contender, theirs.contender) == ("a", "b")
    assert len(ours.samples) == ours.n == 3
    assert ours.checks == {"cpus": 1.0}
    assert ours.ratio == 1.0
    assert ours.unit == "images/s"


def in_this_process(log):
    pid = os.getpid()
    return Contender(name="ignored", run=partial(note, log, str(pid)), work=3, check=lambda: {"pid": pid})


def test_a_contender_may_have_a_process_of_its_own(tmp_path):
    log = tmp_path / "log"
    served = apart("a", partial(in_this_process, log), threads=1, keeps_memory=False)
    served.run()
    pid = served.check()["pid"]
    served.close()
    assert (served.name, served.work) == ("a", 3.0)
    assert log.read_text() == str(pid) != str(os.getpid())
