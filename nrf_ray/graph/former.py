"""Former versions of plug-ins: was a stage finished before one of its plug-ins was changed?"""

import itertools
from collections.abc import Iterator, Mapping
from functools import cached_property

from nrf_ray.graph.canonical import Key
from nrf_ray.graph.plugin_files import versions
from nrf_ray.graph.stage import Stage, walk
from nrf_ray.graph.store import RECORD, Contents, Place, Store
from nrf_ray.plugins import Plugin, loaded

MOST = 64
"""Largest number of combinations of former versions that are tried."""


class Former:
    """Keys that stages had with former versions of their plug-ins, and whether a store has these artifacts."""

    def __init__(self, store: Store, held: Contents) -> None:
        self._store, self._held = store, held

    def changed(self, stage: Stage) -> str:
        """Return which plug-ins were changed since `stage` was finished; empty if it never was, or uses none."""
        if not stage.plugins:
            return ""
        names = {plugin.digest: plugin.name for plugin in loaded()}
        for other, keys in self._combinations:
            key = self._key(stage, other, keys)
            if RECORD in self._held.get(Place(stage.kind.name, key), ()):
                return " and ".join(f"plug-in {name} changed" for name in sorted(names[digest] for digest in other))
        return ""

    @cached_property
    def _combinations(self) -> list[tuple[Mapping[str, str], dict[Key, Key]]]:
        """Former digests by the present ones, each with the keys that are known for it."""
        return [(other, {}) for other in itertools.islice(self._others(), MOST)]

    def _others(self) -> Iterator[Mapping[str, str]]:
        kept = versions(self._store.blobs)

        def of(plugin: Plugin) -> list[str]:
            return [plugin.digest, *(digest for digest in kept.get(plugin.name, ()) if digest != plugin.digest)]

        for digests in itertools.product(*map(of, loaded())):
            pairs = zip((plugin.digest for plugin in loaded()), digests, strict=True)
            if other := {now: former for now, former in pairs if now != former}:
                yield other

    def _key(self, stage: Stage, other: Mapping[str, str], keys: dict[Key, Key]) -> Key:
        """Return the key of `stage` with the former digests `other`; `keys` has those that are known."""
        for handle in walk([stage]):
            if handle.key not in keys:
                inputs = {name: keys[given.key] for name, given in handle.inputs.items()}
                keys[handle.key] = handle.key_from(inputs, other)
        return keys[stage.key]
