"""Output files that lack a character or are gone: a run never fails because of printing."""

import io
import os
import sys
from typing import Any, TextIO

LAST_STANDARD = 2
"""Number of stderr, the last of the three files that every process has."""


def show_every_letter(*files: TextIO | None) -> None:
    r"""Write characters that a file's encoding lacks as escapes such as `\u2713` instead of failing."""
    for file in files:
        if isinstance(file, io.TextIOWrapper):
            file.reconfigure(errors="backslashreplace")


def open_standard_files() -> None:
    """Open /dev/null as each of stdin, stdout and stderr that is closed, so that no other file takes its number."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= LAST_STANDARD:
        pass
    os.close(number)
    sys.stdin = sys.stdin or io.TextIOWrapper(io.FileIO(0, closefd=False))
    sys.stdout = sys.stdout or io.TextIOWrapper(io.FileIO(1, "w", closefd=False))
    sys.stderr = sys.stderr or io.TextIOWrapper(io.FileIO(LAST_STANDARD, "w", closefd=False))


def is_lost(file: TextIO) -> bool:
    """Return whether text written to `file` is lost, after an OSError; then discard all that follows."""
    try:
        os.write(file.fileno(), b"\n")  # a flush may succeed, since the text that could not be written is gone
    except OSError:
        _discard(file)
        return True
    return False


class Steady:
    """Text file that never fails: after the first OSError everything written to it is discarded."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, text: str) -> int:
        """Write `text` if possible; return its length."""
        try:
            return self._file.write(text)
        except OSError:
            _discard(self._file)
        return len(text)

    def flush(self) -> None:
        """Write the buffered text if possible."""
        try:
            self._file.flush()
        except OSError:
            _discard(self._file)


def _discard(file: TextIO) -> None:
    """Redirect `file` to os.devnull, with its buffered text: closing it would fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, file.fileno())
    finally:
        os.close(nowhere)
