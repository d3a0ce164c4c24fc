"""A finding: one line of `nrf doctor`, with what to do about it."""

import enum
from dataclasses import dataclass


class Level(enum.StrEnum):
    """How bad a finding is."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found about one subject."""

    level: Level
    """FAIL: a sweep will not run, or strangers may run code here. WARN: it may be slow, cut off, or seen by others."""
    subject: str
    """What was looked at, in a word or two."""
    message: str
    """What was found."""
    remedy: str = ""
    """What to do about it; empty where all is well."""


def ok(subject: str, message: str) -> Finding:
    """Return the finding that all is well."""
    return Finding(level=Level.OK, subject=subject, message=message)


def warn(subject: str, message: str, remedy: str) -> Finding:
    """Return a finding that a person should know of."""
    return Finding(level=Level.WARN, subject=subject, message=message, remedy=remedy)


def fail(subject: str, message: str, remedy: str) -> Finding:
    """Return a finding that has to be mended."""
    return Finding(level=Level.FAIL, subject=subject, message=message, remedy=remedy)
