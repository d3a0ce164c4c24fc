"""Errors, by who must act.

A message is for the person at the terminal: what happened, with which values, and what to do. `exit_code` is 2 where
that person asked for something that cannot be, 1 where work that was asked for rightly did not succeed.
"""

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C or SIGTERM ended."""


class NrfError(Exception):
    """Root of every error that nrf_ray raises on purpose."""

    exit_code = 2


class ConfigError(NrfError, ValueError):
    """A value, a name or a combination of them that nrf_ray does not accept."""


class StoreError(NrfError):
    """The store cannot be used as asked: not a store, not writable, made by a newer version."""


class StoreFailed(StoreError):
    """The disk or the service under the store failed at an operation: full, read-only, out of reach."""

    exit_code = 1


class ClusterError(NrfError):
    """The cluster cannot be reached, or can never meet what a stage asks for."""


class MissingArtifact(NrfError):
    """A stage that was expected to be in the store has no record there."""

    exit_code = 1


class CorruptArtifact(NrfError):
    """Stored bytes are not the bytes that were committed. `stage` and `key` name the artifact."""

    exit_code = 1

    def __init__(self, stage: str, key: str, problem: str) -> None:
        super().__init__(f"{stage}/{key} is damaged: {problem}. Run the same sweep again to rebuild it.")
        self.stage = stage
        self.key = key
        self.problem = problem

    def __reduce__(self) -> tuple[type["CorruptArtifact"], tuple[str, str, str]]:
        return type(self), (self.stage, self.key, self.problem)


class StagesFailed(NrfError):
    """A run ended with stages that failed or were blocked by one that did."""

    exit_code = 1


def lookup(known: Mapping[str, T], name: str, what: str) -> T:
    """Return `known[name]`, or raise ConfigError that lists what is known."""
    if name not in known:
        raise ConfigError(f"unknown {what} {name!r}; known: {', '.join(known)}")
    return known[name]
