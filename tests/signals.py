"""Signals for processes that tests start."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ctrl_c_is_minded() -> Iterator[None]:
    """Let processes that are started in here react to SIGINT.

    A test run that was itself started in the background ignores it, and so would everything below.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
