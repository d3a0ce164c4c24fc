"""Output files that lack a character or are gone: a run never fails because of printing."""

import io
import os
from typing import Any, TextIO


def show_every_letter(*files: TextIO | None) -> None:
    r"""Write characters that a file's encoding lacks as escapes such as `\u2713` instead of failing."""
    for file in files:
        if isinstance(file, io.TextIOWrapper):
            file.reconfigure(errors="backslashreplace")


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
            self._give_up()
        return len(text)

    def flush(self) -> None:
        """Write the buffered text if possible."""
        try:
            self._file.flush()
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        """Redirect the file to os.devnull, with its buffered text: closing it would fail again."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, self._file.fileno())
        finally:
            os.close(nowhere)
