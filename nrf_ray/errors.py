"""Errors, by who must act, and registries of names, whose errors list the known names.

A message is for the person at the terminal: what happened, with which values, and what to do. `exit_code` is 2 if that
person asked for something impossible, 1 if valid work did not succeed.
"""

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

PACKAGE = __name__.partition(".")[0]

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C or SIGTERM ended."""


class NrfError(Exception):
    """Base class of every error that nrf_ray raises on purpose."""

    exit_code = 2


class ConfigError(NrfError, ValueError):
    """A value, a name or a combination of them that nrf_ray does not accept."""


class PluginMissing(ConfigError):
    """Something was made with a plug-in that the command does not name."""


class StoreError(NrfError):
    """The store cannot be used as asked: not a store, not writable, made by a newer version."""


class StoreFailed(StoreError):
    """The disk or the service under the store failed at an operation: full, read-only, out of reach."""

    exit_code = 1


class ClusterError(NrfError):
    """The cluster cannot be reached, or can never provide what a stage asks for."""


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
    """A run ended with stages that failed, or that were blocked by a failed stage."""

    exit_code = 1


def lookup(known: Mapping[str, T], name: str, what: str) -> T:
    """Return `known[name]`, or raise ConfigError that lists the known names."""
    if name not in known:
        raise ConfigError(f"unknown {what} {name!r}; known: {', '.join(known)}")
    return known[name]


class HasName(Protocol):
    """An object that says its own name."""

    @property
    def name(self) -> str:
        """Its name."""


Named = TypeVar("Named", bound=HasName)


class Registry(dict[str, T]):
    """Objects of one kind by name: those of this package, and those that users register."""

    def __init__(
        self, kind: str, own: Mapping[str, T] | None = None, *, prepare: Callable[[T], T] = lambda thing: thing
    ) -> None:
        """`kind` is the noun for error messages, as in "attack"; `prepare` is applied to each object."""
        super().__init__({name: prepare(thing) for name, thing in (own or {}).items()})
        self.kind = kind
        self._prepare = prepare
        self._given = dict(own or {})
        self._origins: dict[str, str] = {}
        self._reserved: set[str] = set()

    def __setitem__(self, name: str, thing: T) -> None:
        self._origins[name] = origin = _registrant()
        _REGISTERED.setdefault(origin, []).append((self, name))
        super().__setitem__(name, thing)

    @staticmethod
    def of(kind: str, things: Iterable[Named]) -> "Registry[Named]":
        """Return a registry of `things` by their names; raise ConfigError if two of them have one name."""
        registry: Registry[Named] = Registry(kind)
        for thing in things:
            registry.register(thing.name)(thing)
        return registry

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers an object as `name`; raise ConfigError if another object has that name."""

        def add(thing: T) -> T:
            if not re.fullmatch(r"\w[\w.+-]*", name):
                raise ConfigError(f"the {self.kind} {name!r} needs another name: letters, digits, and ._+- within it")
            if name in self._reserved or self._given.setdefault(name, thing) != thing:
                raise ConfigError(f"there is another {self.kind} called {name!r}; give this one another name")
            if name not in self:
                self[name] = self._prepare(thing)
            return thing

        return add

    def reserve(self, *names: str) -> None:
        """Refuse `names` from now on: they mean something else where the names of this registry are read."""
        self._reserved.update(names)

    def origin(self, name: str) -> str:
        """Return the module that registered `name`; empty if the registry was made with it, or has no such name."""
        return self._origins.get(name, "")

    @property
    def names(self) -> Mapping[str, "Registry[T]"]:
        """Metadata of a field of a config whose value is a name of this registry, or several; see `names_in`."""
        return {_NAMES: self}

    def forget(self, name: str) -> None:
        """Remove `name`, so that it can be registered again."""
        self.pop(name, None)
        self._given.pop(name, None)
        self._origins.pop(name, None)

    def where(self, holds: Callable[[T], object]) -> tuple[str, ...]:
        """Return the names of the objects for which `holds` is true now, in the order of their registration."""
        return tuple(name for name, thing in self.items() if holds(thing))

    def named(self, name: str) -> T:
        """Return the object called `name`, or raise ConfigError with the known names."""
        return lookup(self, name, self.kind)


_NAMES = "names of a registry"
_REGISTERED: dict[str, list[tuple[Registry[Any], str]]] = {}
"""Registries and names, by the module that registered them."""


def names_in(metadata: Mapping[Any, Any]) -> Registry[Any] | None:
    """Return the registry whose names a field with this `metadata` holds, or None if it holds no names."""
    return metadata.get(_NAMES)


def registered_by(module: str) -> tuple[tuple[Registry[Any], str], ...]:
    """Return every registry and name that `module` has registered."""
    return tuple(_REGISTERED.get(module, ()))


def forget_all(module: str) -> None:
    """Remove every name that `module` has registered."""
    for registry, name in _REGISTERED.pop(module, ()):
        registry.forget(name)


def _registrant() -> str:
    """Return the module that registers something now: a module that is being imported, or one outside this package.

    A function of this package registers for the module that calls it.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if frame.f_code.co_name == "<module>" or module.partition(".")[0] != PACKAGE:
            return module
        frame = frame.f_back
    return ""


def expanded(path: str) -> Path:
    """Return `path` with a leading `~` replaced by the home folder; raise ConfigError if there is no such folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(
            f"{path} starts with the home folder of a user who is unknown here; set HOME to a folder that you may "
            "write to, or give an absolute path"
        ) from error


def check_text(name: str, what: str) -> None:
    """Raise ConfigError if the bytes of `name` are not UTF-8, so that it can neither be printed nor stored as text."""
    if not is_text(name):
        known = sys.getfilesystemencoding()
        if known != "utf-8":
            raise ConfigError(f"{what} {printable(name)} cannot be read in the locale's {known}; set LC_ALL=C.UTF-8")
        raise ConfigError(f"{what} {printable(name)} is not UTF-8; give it another name")


def one_line(error: BaseException, longest: int | None = None) -> str:
    """Return the message of `error` in one line, cut after `longest` characters."""
    return " ".join(str(error).split())[:longest]


def is_text(name: str) -> bool:
    """Return whether `name` is text; Python represents each byte of a path that is not UTF-8 by a lone surrogate."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def printable(name: str) -> str:
    r"""Return `name` with every byte that is not UTF-8 written as `\xff`, for printing."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
