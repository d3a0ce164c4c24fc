"""Errors, by who must act; and names, whose errors list what is known.

A message is for the person at the terminal: what happened, with which values, and what to do. `exit_code` is 2 where
that person asked for something that cannot be, 1 where work that was asked for rightly did not succeed.
"""

from collections.abc import Callable, Mapping
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


class Registry(dict[str, T]):
    """Things of one kind by their names: those of this package, and those that users register beside them."""

    def __init__(self, kind: str, own: Mapping[str, T] | None = None) -> None:
        """`kind` is the noun for error messages, as in "attack"."""
        super().__init__(own or {})
        self.kind = kind

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers under `name`; raise ConfigError if another thing has that name."""

        def add(thing: T) -> T:
            if self.setdefault(name, thing) != thing:
                raise ConfigError(f"there is another {self.kind} called {name!r}; give this one another name")
            return thing

        return add

    def named(self, name: str) -> T:
        """Return the thing called `name`, or raise ConfigError with the known names."""
        return lookup(self, name, self.kind)
