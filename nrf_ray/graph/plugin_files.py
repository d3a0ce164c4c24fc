"""Files of plug-ins in a store, from which every process of a run loads them.

    <store>/plugins/<digest>.py    contents of the file
    <store>/plugins/<digest>.json  its name when it was first used

A pickled stage names the plug-ins that it and its inputs use before anything else, so they are loaded first when it is
unpickled. A file of a store is run only in a run whose command named it: by its path, or by the start of its digest.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nrf_ray.errors import ConfigError, StoreFailed, expanded
from nrf_ray.graph.blobs import Blobs
from nrf_ray.graph.canonical import digest
from nrf_ray.plugins import Plugin, load_file, load_installed, load_source, loaded, plugin_with

FOLDER = "plugins"
_HOMES: dict[str, str] = {}
"""Store from which other processes get a file, by digest."""


class Carried(NamedTuple):
    """A plug-in on its way to another process, which loads it when it unpickles this."""

    name: str
    digest: str
    home: str
    """URI of the store that has its file; empty for an installed package."""

    def __reduce__(self) -> tuple[object, ...]:
        return _arrived, tuple(self)


def load_named(names: Sequence[str], uri: str) -> None:
    """Load the plug-ins that a command names, and those of installed packages.

    A name is the path of a file, or the start of the digest of a file that the store at `uri` has.
    """
    for name in names:
        path = expanded(name)
        if path.exists():
            load_file(path)
        elif re.fullmatch("[0-9a-f]{6,64}", name):
            _load_kept(name, uri)
        else:
            raise ConfigError(f"there is no plug-in {name}{_hint(path.name, uri)}; give the path of a file of Python")
    load_installed()


def keep(blobs: Blobs) -> None:
    """Write the files of this process's plug-ins into the store, from which other processes get them."""
    for plugin in loaded():
        if plugin.source:
            blobs.put_new(f"{FOLDER}/{plugin.digest}.py", plugin.source)
            blobs.put_new(f"{FOLDER}/{plugin.digest}.json", json.dumps({"name": plugin.name}).encode() + b"\n")
            _HOMES[plugin.digest] = str(blobs.root) if blobs.root else blobs.uri


def carried(plugins: Iterable[Plugin]) -> tuple[Carried, ...]:
    """Return what brings `plugins` of this process to another one."""
    ordered = sorted(plugins, key=lambda plugin: plugin.digest)
    return tuple(Carried(plugin.name, plugin.digest, _HOMES.get(plugin.digest, "")) for plugin in ordered)


def versions(blobs: Blobs) -> dict[str, list[str]]:
    """Return the digests of the files that the store has, by name of the file."""
    found: dict[str, list[str]] = {}
    for blob in blobs.under(FOLDER):
        if blob.name.endswith(".json"):
            name = (blobs.get_json(blob.name) or {}).get("name")
            found.setdefault(str(name), []).append(blob.name.rpartition("/")[2].removesuffix(".json"))
    return found


def _hint(name: str, uri: str) -> str:
    """Return what to say of a file called `name` that is gone but that the store has; empty if it has none."""
    kept = versions(Blobs(uri, create=False)).get(name, [])
    told = " or ".join(f"--plugin {digest[:12]}" for digest in kept)
    return f", but the store {uri} has a file of this name: give {told} to use that" if kept else ""


def _load_kept(start: str, uri: str) -> None:
    """Load the file of the store at `uri` whose digest begins with `start`."""
    blobs = Blobs(uri, create=False)
    kept = [(name, digest) for name, digests in versions(blobs).items() for digest in digests]
    found = [(name, digest) for name, digest in kept if digest.startswith(start)]
    if len(found) != 1:
        known = ", ".join(f"{digest[:12]} ({name})" for name, digest in kept) or "none"
        raise ConfigError(f"{len(found)} plug-ins of the store {uri} begin with {start}; it has: {known}")
    load_source(found[0][0], _contents(blobs, *found[0]))


def _contents(blobs: Blobs, name: str, expected: str) -> bytes:
    source = blobs.get(f"{FOLDER}/{expected}.py")
    if source is None:
        raise StoreFailed(f"the plug-in {name} was removed from {blobs.uri}/{FOLDER}; run the same command again")
    if digest(source) != expected:
        raise ConfigError(
            f"the plug-in {name} in {blobs.uri}/{FOLDER}/{expected}.py was changed, so it is not run; delete that file"
        )
    return source


def _arrived(name: str, expected: str, home: str) -> Carried:
    """Load a plug-in that another process names, unless this process has it, and pass it on in turn."""
    if home:
        _HOMES[expected] = home
    if plugin_with(expected) is None:
        if home:
            load_source(name, _contents(Blobs(home, create=False), name, expected))
        else:
            load_installed((expected,))
        if plugin_with(expected) is None:
            raise ConfigError(
                f"the installed plug-in {name} of this machine is not that of the run ({expected[:12]}); install "
                "the same version on every machine"
            )
    return Carried(name, expected, home)


def lacking(named: Sequence[dict[str, str]]) -> str:
    """Return what is to be done so that the plug-ins `named` in a record are loaded; empty if they are."""
    missing = [one for one in named if plugin_with(one["digest"]) is None]
    return " and ".join(
        f"the plug-in {one['name']} ({one['digest'][:12]}), which this command does not name: give --plugin with its "
        f"path, or --plugin {one['digest'][:12]}"
        for one in missing
    )


def told(plugins: Iterable[Plugin]) -> list[dict[str, str]]:
    """Return `plugins` as a record names them."""
    return [{"name": one.name, "digest": one.digest} for one in sorted(plugins, key=lambda one: one.digest)]
