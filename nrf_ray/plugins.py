"""Plug-ins: code of users that registers things under names, as this package does (see `errors.Registry`).

A plug-in is one file of Python, or an installed package that names a module in its entry points of the group
`nrf_ray.plugins`. It is identified by the digest of its code, which is in the key of every stage that uses a thing that
the plug-in registered. A plug-in runs with all rights of the user. `graph.plugin_files` brings it to other processes.
"""

import hashlib
import importlib
import importlib.util
import linecache
import sys
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from nrf_ray.errors import ConfigError, forget_all, names_in, one_line, registered_by

GROUP = "nrf_ray.plugins"
"""Group of the entry points by which installed packages name their modules."""
SHOWN = 300
"""Largest number of characters shown of the error of a plug-in."""


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A plug-in that was loaded into this process."""

    name: str
    """Name of its file, or of its entry point."""
    digest: str
    """sha256 of its file, or of all files of Python of its package."""
    module: str
    """Module that its code is in; of a package, the module that its entry point names."""
    source: bytes = field(repr=False, compare=False)
    """Contents of its file; empty if it is an installed package."""

    @property
    def title(self) -> str:
        """Name and first digits of the digest, for messages."""
        return f"plug-in {self.name} ({self.digest[:12]})"


_LOADED: dict[str, Plugin] = {}
"""Plug-ins of this process by the top package of their module, or by the module of a file."""


def loaded() -> tuple[Plugin, ...]:
    """Return the plug-ins of this process, sorted by digest."""
    return tuple(sorted(_LOADED.values(), key=lambda plugin: plugin.digest))


def plugin_with(digest: str) -> Plugin | None:
    """Return the plug-in of this process with this digest, or None if it is not loaded."""
    return next((plugin for plugin in _LOADED.values() if plugin.digest == digest), None)


def load_file(path: Path) -> Plugin:
    """Run the file at `path` as a plug-in; raise ConfigError if that is not possible."""
    try:
        return load_source(path.name, path.read_bytes())
    except OSError as error:
        raise ConfigError(f"the plug-in {path} cannot be read: {error.strerror}") from error


def load_source(name: str, source: bytes) -> Plugin:
    """Run the contents `source` of a file called `name` as a plug-in, unless they were run before in this process.

    Raises ConfigError, with the number of the line, if the code raises, or if it registers nothing.
    """
    digest = hashlib.sha256(source).hexdigest()
    if found := plugin_with(digest):
        return found
    plugin = Plugin(name=name, digest=digest, module=f"nrf_plugin_{digest[:16]}", source=source)
    file = f"<plug-in {name} {digest[:12]}>"
    text = source.decode("utf-8", "replace")
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)  # for tracebacks
    module = ModuleType(plugin.module)
    module.__file__ = file
    sys.modules[plugin.module] = module
    _LOADED[plugin.module] = plugin
    try:
        exec(compile(source, file, "exec", dont_inherit=True), vars(module))
        if not registered_by(plugin.module):
            raise ConfigError("it registers nothing; register something, or leave the plug-in out")
    except (Exception, SystemExit) as error:
        line = error.lineno or 1 if isinstance(error, SyntaxError) and error.filename == file else 1
        said = blamed(error) or f"plug-in {name}, line {line}: {_reason(error)}"
        unload(plugin)
        raise ConfigError(said) from error
    return plugin


def unload(plugin: Plugin) -> None:
    """Forget a plug-in and everything that it registered, so that another version of it can be loaded."""
    for module in [plugin.module] if plugin.source else _modules_of(plugin.module.partition(".")[0]):
        forget_all(module)
        sys.modules.pop(module, None)
    for name in [name for name, one in _LOADED.items() if one is plugin]:
        del _LOADED[name]


@cache
def installed() -> tuple[EntryPoint, ...]:
    """Return the entry points of plug-ins of installed packages, by name."""
    return tuple(sorted(entry_points(group=GROUP)))


def load_installed(digests: tuple[str, ...] | None = None) -> None:
    """Import every module that an installed package names as a plug-in; with `digests`, only those plug-ins.

    Raises ConfigError if a module cannot be imported, or if it registers nothing.
    """
    for entry in installed():
        top = entry.module.partition(".")[0]
        try:
            digest = _digest_of_package(top)
            if digests is not None and digest not in digests:
                continue
            # A package may have several entry points; it is one plug-in.
            _LOADED.setdefault(top, Plugin(name=entry.name, digest=digest, module=entry.module, source=b""))
            importlib.import_module(entry.module)
            if not any(map(registered_by, _modules_of(top))):
                raise ConfigError("it registers nothing")
        except (Exception, SystemExit) as error:
            if top in _LOADED:
                unload(_LOADED[top])
            raise ConfigError(
                f"the installed plug-in {entry.name} ({entry.value}) cannot be used: {_reason(error)}; mend its "
                "package, or uninstall it"
            ) from error


def plugin_of(module: str) -> Plugin | None:
    """Return the plug-in that `module` belongs to, or None if it belongs to none."""
    return _LOADED.get(module) or _LOADED.get(module.partition(".")[0])


def used_by(value: Any) -> frozenset[Plugin]:
    """Return the plug-ins whose things the config `value` uses: classes of its parts, and registered names in it."""
    if not _LOADED:
        return frozenset()
    found: set[Plugin | None] = set()
    _collect(value, found)
    return frozenset(plugin for plugin in found if plugin)


def _collect(value: Any, found: set[Plugin | None]) -> None:
    if isinstance(value, list | tuple | set | frozenset):
        for item in value:
            _collect(item, found)
    elif isinstance(value, dict):
        _collect(list(value.values()), found)
    elif is_dataclass(value) and not isinstance(value, type):
        found.add(plugin_of(type(value).__module__))
        for one in fields(value):
            held, registry = getattr(value, one.name), names_in(one.metadata)
            if registry is not None:
                found |= {plugin_of(registry.origin(name)) for name in _names(held)}
            if one.compare:
                _collect(held, found)


def _names(held: Any) -> tuple[str, ...]:
    """Return the names that a field holds: one, several, or the name of the class of what it holds."""
    if isinstance(held, str | tuple):
        return (held,) if isinstance(held, str) else held
    return (type(held).__name__,)


def _modules_of(top: str) -> list[str]:
    """Return the modules of the package `top` that this process has imported."""
    return [name for name in sys.modules if name.partition(".")[0] == top]


def _digest_of_package(top: str) -> str:
    """Return the sha256 over names and contents of all files of Python of an installed package or module."""
    spec = importlib.util.find_spec(top)
    if spec is None:
        raise ConfigError(f"there is no package {top}")
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    files = [(path.relative_to(folder).as_posix(), path) for folder in folders for path in folder.rglob("*.py")]
    if not folders and spec.origin:
        files = [(Path(spec.origin).name, Path(spec.origin))]
    whole = hashlib.sha256()
    for name, path in sorted(files):
        whole.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def blamed(error: BaseException) -> str | None:
    """Return what `error` says and the line of a plug-in that it comes from; None if no plug-in was at work."""
    found, trace = None, error.__traceback__
    while trace is not None:
        plugin = plugin_of(str(trace.tb_frame.f_globals.get("__name__")))
        found = (plugin.name, trace.tb_lineno) if plugin else found
        trace = trace.tb_next
    return f"plug-in {found[0]}, line {found[1]}: {_reason(error)}" if found else None


def _reason(error: BaseException) -> str:
    if isinstance(error, ConfigError):
        return one_line(error)
    said = str(error.msg) if isinstance(error, SyntaxError) else one_line(error, SHOWN)
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    if isinstance(error, ModuleNotFoundError):
        return f"{text}; a plug-in is one file: it can import installed packages, but no file beside it"
    return text
