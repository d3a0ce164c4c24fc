"""End the process of a command with the command's exit code, also if Ray is loaded.

When the interpreter shuts down, Ray's exit handlers, threads and C++ destructors still run. At times they crash
(SIGSEGV, SIGABRT), or print a traceback if an interrupt left Ray half imported, although the command has ended and has
said how. So a process in which Ray is loaded skips the shutdown. `session.connect` has stopped Ray by then. If an
interrupt left Ray half started, its processes die with this one: on Linux the kernel ends them, on macOS a process of
Ray's does. Only the agents of a raylet that was killed live on, for about a minute.
"""

import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn


def leave_with(command: Callable[[], int]) -> NoReturn:
    """Run `command`, then end this process with the exit code that it returns."""
    try:
        sys.exit(command())
    except BaseException as end:
        if not skips_shutdown():
            raise
        code = _code_of(end)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            try:
                stream.flush()
            except OSError:  # the pipe has no reader, or the disk is full
                code = code or 1
    os._exit(code)


def skips_shutdown() -> bool:
    """Return whether any part of Ray is loaded; after an interrupted import, `ray` itself is not in `sys.modules`.

    A profiler or a debugger needs the shutdown for its report, and gets it.
    """
    watched = sys.gettrace() or sys.getprofile()
    return not watched and any(name.partition(".")[0] == "ray" for name in list(sys.modules))


def _code_of(end: BaseException) -> int:
    """Return the exit code for an exception that ends the program; print its traceback unless it is a plain exit."""
    if isinstance(end, SystemExit) and (end.code is None or isinstance(end.code, int)):
        return end.code or 0
    traceback.print_exception(end)
    return 1
