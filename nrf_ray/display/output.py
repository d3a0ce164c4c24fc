"""Output that cannot show a letter, or is gone: printing never decides about a run."""

import io
import os
from typing import Any, TextIO


def show_every_letter(*files: TextIO | None) -> None:
    r"""See that nothing fails because a file's encoding lacks a letter: it is written as `\u2713`."""
    for file in files:
        if isinstance(file, io.TextIOWrapper):
            file.reconfigure(errors="backslashreplace")


class Steady:
    """A text file that never fails: after the first error of the system what is written to it goes nowhere."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, text: str) -> int:
        """Write `text`, if that can be done; return its length."""
        try:
            return self._file.write(text)
        except OSError:
            self._give_up()
        return len(text)

    def flush(self) -> None:
        """Write what is held back, if that can be done."""
        try:
            self._file.flush()
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        """Send the file nowhere, with all that it still holds back: closing it would fail again at the end."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, self._file.fileno())
        finally:
            os.close(nowhere)
