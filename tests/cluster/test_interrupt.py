"""The end of a run that a person or a scheduler wants: soon, without a traceback, by force where nothing lets go."""

import signal
import subprocess
import sys
import time

import pytest

from nrf_ray.cluster import interrupt
from nrf_ray.cluster.interrupt import FORCED, STOP_SECONDS, stop_in_time
from nrf_ray.errors import INTERRUPTED

STUBBORN = """
import sys, time
from nrf_ray.cluster.interrupt import stop_in_time
with stop_in_time(2):
    for word in ("ready", "waiting"):
        try:
            print(word, flush=True)
            time.sleep(30)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
"""
"""A run that does not let go, as Ray at times."""


def start() -> "subprocess.Popen[bytes]":
    # A test run that was itself started in the background ignores SIGINT, and so would everything below it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.parametrize("number", interrupt.SIGNALS, ids=["Ctrl-C", "SIGTERM"])
def test_what_does_not_let_go_is_ended_by_force(number: signal.Signals) -> None:
    process = start()
    began = time.monotonic()
    process.send_signal(number)
    out, errors = process.communicate(timeout=20)
    assert (process.returncode, out, errors) == (INTERRUPTED, b"interrupted\nwaiting\n", FORCED)
    assert time.monotonic() - began >= STOP_SECONDS - 0.1


def test_a_second_signal_ends_it_at_once() -> None:
    process = start()
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == b"interrupted\n"
    assert process.stdout.readline() == b"waiting\n"
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=20)
    assert (process.returncode, out, errors) == (INTERRUPTED, b"", FORCED)
    assert time.monotonic() - began < STOP_SECONDS


def test_without_an_interrupt_everything_is_as_before() -> None:
    before = [signal.getsignal(number) for number in interrupt.SIGNALS]
    with pytest.raises(ValueError, match="of the work"), stop_in_time(2):
        raise ValueError("of the work")
    assert [signal.getsignal(number) for number in interrupt.SIGNALS] == before


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_in_time(2):
            signal.raise_signal(signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
