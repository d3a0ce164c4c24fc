"""Keep Ray's own output off the terminal.

Ray, its C++ core and the libraries below it write to the process's stdout and stderr. While a sweep runs, both are
redirected to a log file, and the sweep's own console writes to the original terminal.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from nrf_ray.display.output import Steady
from nrf_ray.display.printing import make_console


@contextmanager
def output_to(log: Path) -> Iterator[Console]:
    """Send everything that is written to stdout and stderr to `log`; yield a console on the real stdout."""
    log.parent.mkdir(parents=True, exist_ok=True)
    Steady(sys.stdout).flush()
    Steady(sys.stderr).flush()
    saved = os.dup(1), os.dup(2)
    terminal = os.fdopen(os.dup(saved[0]), "w", encoding=sys.stdout.encoding, buffering=1)
    console = make_console(terminal, steady=True)
    with log.open("ab") as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
    try:
        yield console
    finally:
        Steady(sys.stdout).flush()
        Steady(sys.stderr).flush()
        console.file.flush()
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        for descriptor in saved:
            os.close(descriptor)
        terminal.close()
