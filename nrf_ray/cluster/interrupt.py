"""End soon, and without noise, when a person or a scheduler says so.

The first Ctrl-C or SIGTERM (which is what `ray job stop` sends) unwinds the command as KeyboardInterrupt; from that
moment a timer runs, because Ray may not let go. A second signal ends the process at once. Either way what is committed
stays: Ray's processes die with this one, and the next run goes on from there.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from nrf_ray.errors import INTERRUPTED

STOP_SECONDS = 2.5
"""From the signal to the end by force; `ray job stop` kills after 3 seconds."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)
FORCED = b"stopped at once: what is finished is kept; run the same command again to go on from there\n"


@contextmanager
def stop_in_time() -> Iterator[None]:
    """Raise KeyboardInterrupt in here at the first signal; if force is needed, say so on what is stderr now.

    After an interrupt the caller has to say that the command was stopped, and to end it; signals are ignored then.
    """
    errors = os.dup(2)  # if the output is sent elsewhere in here, this line is not
    last_word = threading.Lock()  # the thread that takes it, and keeps it, says how the command ended
    timers: list[threading.Timer] = []

    def leave() -> NoReturn:
        if last_word.acquire(blocking=False):
            os.write(errors, FORCED)
        os._exit(INTERRUPTED)

    def leave_later() -> None:
        timers.append(threading.Timer(STOP_SECONDS, leave))
        timers[-1].daemon = True
        timers[-1].start()

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        if timers:
            leave()
        leave_later()
        raise KeyboardInterrupt

    # A process that was told to ignore a signal (nohup, a job in the background) goes on ignoring it.
    minded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.getsignal(number) for number in minded}
    for number in minded:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if timers else handler)
        if timers:
            last_word.acquire()  # if `leave` has it, this waits until the process is gone
            for timer in timers:
                timer.cancel()
            leave_later()  # silently, since what is said now is the caller's
            os.dup2(errors, 2)  # the interrupt may have come before the output was put back
        os.close(errors)


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Keep the handlers of signals although what is done in here puts its own in their place, as `ray.init` does.

    Ray's ends the process by SystemExit with the number of the signal; that is handed to the handler of before.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    try:
        yield
    except SystemExit as end:
        if end.code not in SIGNALS:
            raise
        restore()
        signal.raise_signal(end.code)
    finally:
        restore()
