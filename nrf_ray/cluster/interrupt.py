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
    """Raise KeyboardInterrupt in here at the first signal; where force is needed, say so on what is stderr now.

    After an interrupt the handlers stay: the process is about to end, and another signal must not disturb that.
    """
    errors = os.dup(2)  # whoever sends the output elsewhere meanwhile does not send this line there

    interrupted = unwound = False

    def leave(number: int = 0, frame: FrameType | None = None) -> NoReturn:
        if not unwound:  # else whoever called has said that it ends
            os.write(errors, FORCED)
        os._exit(INTERRUPTED)

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        nonlocal interrupted
        interrupted = True
        for later in before:
            signal.signal(later, leave)
        timer = threading.Timer(STOP_SECONDS, leave)
        timer.daemon = True
        timer.start()
        raise KeyboardInterrupt

    # A process that was told to ignore a signal (nohup, a job in the background) goes on ignoring it.
    minded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.getsignal(number) for number in minded}
    for number in minded:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        unwound = True
        if not interrupted:
            for number, handler in before.items():
                signal.signal(number, handler)
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
