"""The end of a run that a person or a scheduler wants: soon, without a traceback, by force where nothing lets go."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nrf_ray.cluster import interrupt
from nrf_ray.cluster.interrupt import FORCED, STOP_SECONDS, handlers_kept, stop_in_time
from nrf_ray.errors import INTERRUPTED
from tests.signals import ctrl_c_is_minded

ROOT = Path(__file__).resolve().parents[2]
STUBBORN = """
import sys, time
from nrf_ray.cluster import interrupt
from nrf_ray.cluster.interrupt import stop_in_time
interrupt.STOP_SECONDS = float(sys.argv[1])
with stop_in_time():
    for word in ("ready", "waiting"):
        try:
            print(word, flush=True)
            time.sleep(30)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
"""
"""A run that does not let go, as Ray at times."""


def start(*command: str, until: bytes) -> "subprocess.Popen[bytes]":
    """Start a process of Python, and return when it has written the line `until`."""
    with ctrl_c_is_minded():
        process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert until in iter(process.stdout.readline, b"")
    return process


def stubborn(stop_seconds: float) -> "subprocess.Popen[bytes]":
    return start("-c", STUBBORN, str(stop_seconds), until=b"ready\n")


@pytest.mark.parametrize("number", interrupt.SIGNALS, ids=["Ctrl-C", "SIGTERM"])
def test_what_does_not_let_go_is_ended_by_force(number: signal.Signals) -> None:
    process = stubborn(0.5)
    began = time.monotonic()
    process.send_signal(number)
    out, errors = process.communicate(timeout=20)
    assert (process.returncode, out, errors) == (INTERRUPTED, b"interrupted\nwaiting\n", FORCED)
    assert time.monotonic() - began >= 0.4
    assert STOP_SECONDS < 3, "`ray job stop` kills then"


def test_a_second_signal_ends_it_at_once() -> None:
    process = stubborn(1000.0)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == b"interrupted\n"
    assert process.stdout.readline() == b"waiting\n"
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out, errors) == (INTERRUPTED, b"", FORCED)


def test_it_ends_by_force_also_if_nobody_reads_what_it_says() -> None:
    """Regression: the last words could not be written to a closed pipe, and the process went on for ever."""
    with stubborn(0.2) as process:
        assert process.stderr is not None
        process.stderr.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == INTERRUPTED


CLOSE = """
import os, sys, time
from nrf_ray.cluster import interrupt
from nrf_ray.cluster.interrupt import stop_in_time
interrupt.STOP_SECONDS = 2.0
try:
    with stop_in_time():
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        print("ready", flush=True)
        try:
            time.sleep(30)
        finally:
            time.sleep(1.5)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    time.sleep(1.0)
    os.write(2, b"the last word\\n")
    os._exit(130)
"""
"""A run that lets go shortly before it would be ended by force, and had no time to put its output back."""


def test_what_lets_go_in_time_has_the_last_word() -> None:
    """Regression: the timer ended the process silently if it had let go but not yet said so; so did a signal."""
    process = start("-c", CLOSE, until=b"ready\n")
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    assert process.stdout.readline() == b"interrupted\n"
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, out, errors) == (INTERRUPTED, b"", b"the last word\n")


LATE = """
import importlib, runpy, sys, time
from nrf_ray.run import command as commands
from nrf_ray.graph.plan import Plan

def wait(*arguments, **more):
    print("now", flush=True)
    time.sleep(30)

commands.make_plan = lambda *arguments, **more: Plan(())
module, _, name = sys.argv.pop(1).partition(":")
setattr(importlib.import_module(module), name, wait)
runpy.run_path("sweeps/transfer_grid.py", run_name="__main__")
"""
"""A sweep that has nothing to run, and waits in one function of its command."""


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        pytest.param(signal.SIGTERM, "nrf_ray.sweep.flags:check_mode", id="grid"),
        pytest.param(signal.SIGINT, "nrf_ray.run.command:make_plan", id="plan"),
        pytest.param(signal.SIGTERM, "nrf_ray.run.command:_repeat", id="tables"),
    ],
)
def test_a_command_ends_in_one_line_at_any_moment(number: signal.Signals, moment: str, tmp_path: Path) -> None:
    """Regression: before Ray ran and after it, SIGTERM ended the process without a word."""
    process = start("-c", LATE, moment, "--store", str(tmp_path / "store"), until=b"now\n")
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.count(b"\n")) == (INTERRUPTED, 1)
    assert errors.startswith(b"stopped: finished stages are kept; run the same command again")


def run_and_stop(store: Path, seconds: float) -> None:
    """Start the smallest sweep, and end it `seconds` after it said where its log is."""
    command = ("sweeps/transfer_grid.py", "--preset", "smoke", "--store", str(store))
    process = start(*command, until=b"Ctrl-C stops the run; run the same command again to resume\n")
    time.sleep(seconds)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    _, errors = process.communicate(timeout=200)  # Ray's agents outlive a raylet that ends early, and hold the pipe
    assert (process.returncode, errors.count(b"\n")) == (INTERRUPTED, 1), errors
    assert b"run the same command again" in errors
    left = [str(path) for path in store.rglob("*") if path.name == "lease.json" or path.parent.name == "drivers"]
    assert errors == FORCED or left == []


def test_sigterm_while_ray_is_imported_ends_in_one_line(tmp_path: Path) -> None:
    run_and_stop(tmp_path / "store", 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [3.0, 5.0, 6.0, 8.0])
def test_sigterm_while_ray_starts_ends_in_one_line(tmp_path: Path, seconds: float) -> None:
    run_and_stop(tmp_path / "store", seconds)


def test_others_cannot_replace_the_handlers() -> None:
    """Regression: Ray's own handler raised SystemExit in code that swallows it, and a run went on after SIGTERM."""
    caught: list[int] = []
    before = [signal.signal(number, lambda number, frame: caught.append(number)) for number in interrupt.SIGNALS]
    try:
        with handlers_kept():
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
        signal.raise_signal(signal.SIGTERM)
        with handlers_kept():
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(SystemExit), handlers_kept():
            sys.exit(1)
        assert caught == [signal.SIGTERM] * 2
    finally:
        for number, handler in zip(interrupt.SIGNALS, before, strict=True):
            signal.signal(number, handler)


def test_without_an_interrupt_everything_is_as_before() -> None:
    before = [signal.getsignal(number) for number in interrupt.SIGNALS]
    with pytest.raises(ValueError, match="of the work"), stop_in_time():
        raise ValueError("of the work")
    assert [signal.getsignal(number) for number in interrupt.SIGNALS] == before


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_in_time():
            signal.raise_signal(signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
