"""Stop a command soon and quietly when a person or a scheduler sends a signal.

The first Ctrl-C or SIGTERM (which `ray job stop` sends) raises KeyboardInterrupt in the command. From that moment a
timer runs, because Ray may block. A second signal ends the process at once. In both cases committed artifacts stay:
Ray's processes die with this one, and the next run resumes from there.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from nrf_ray.errors import INTERRUPTED

STOP_SECONDS = 2.5
"""Seconds from the signal to the end by force; `ray job stop` kills after 3 seconds."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)
FORCED = b"stopped at once: what is finished is kept; run the same command again to go on from there\n"


@contextmanager
def stop_in_time() -> Iterator[None]:
    """Raise KeyboardInterrupt in this context at the first signal; if force is needed, say so on the stderr at entry.

    After an interrupt the caller must print that the command was stopped, and end it; signals are ignored then.
    """
    errors = os.dup(2)  # a copy: if stderr is redirected in this context, the last line is not
    last_word = threading.Lock()  # the thread that acquires it, and keeps it, says how the command ended
    timers: list[threading.Timer] = []

    def leave() -> NoReturn:
        try:
            if last_word.acquire(blocking=False):
                os.write(errors, FORCED)
        finally:  # also if stderr is a pipe that has no reader
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

    # A process that ignores a signal (nohup, a job in the background) keeps ignoring it.
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
            leave_later()  # silently, since the caller prints the message now
            os.dup2(errors, 2)  # the interrupt may have come before stderr was restored
        os.close(errors)


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Keep the signal handlers in this context: code in it, such as `ray.init`, cannot replace them.

    Ray's own handler raises SystemExit in whatever code runs, and code that catches everything swallows it: then the
    signal is lost. The handler of `stop_in_time` starts a timer, so it ends the process also in that case.
    """
    set_handler = signal.signal

    def set_others(number: int, handler: Any) -> Any:
        return signal.getsignal(number) if number in SIGNALS else set_handler(number, handler)

    signal.signal = set_others  # type: ignore[assignment]
    try:
        yield
    finally:
        signal.signal = set_handler
