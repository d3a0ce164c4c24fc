"""Finding: one line of `nrf doctor`, with its remedy."""

import enum
from dataclasses import dataclass


class Level(enum.StrEnum):
    """Severity of a finding."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Result of one check."""

    level: Level
    """FAIL: a sweep will not run, or strangers can run code here. WARN: it may be slow, stopped, or seen by others."""
    subject: str
    """Subject of the check, in a word or two."""
    message: str
    """Result in words, with its values."""
    remedy: str = ""
    """Action that helps; empty for OK."""


def ok(subject: str, message: str) -> Finding:
    """Return a finding of level OK."""
    return Finding(level=Level.OK, subject=subject, message=message)


def warn(subject: str, message: str, remedy: str) -> Finding:
    """Return a finding of level WARN."""
    return Finding(level=Level.WARN, subject=subject, message=message, remedy=remedy)


def fail(subject: str, message: str, remedy: str) -> Finding:
    """Return a finding of level FAIL."""
    return Finding(level=Level.FAIL, subject=subject, message=message, remedy=remedy)
