"""The console that people look at."""

import sys
from typing import TextIO

from rich.console import Console

FILE_WIDTH = 180
"""Columns where the output is no terminal: tables in a log should not be cut to the width of nobody's window."""


def make_console(file: TextIO | None = None) -> Console:
    """Return a console on `file` (stdout without one): as wide as the terminal, or `FILE_WIDTH` in a file or pipe.

    Square brackets are text: datasets have them in their names.
    """
    out = file or sys.stdout
    return Console(file=out, width=None if out.isatty() else FILE_WIDTH, highlight=False, markup=False)
