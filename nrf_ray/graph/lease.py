"""Leases: so that two runs on one store seldom do the same work twice.

A stage that a driver has handed out carries the driver's name. Whoever finds such a name looks whether that driver
lives; what a dead one held is taken over by writing the lease that follows its own, which one of several succeeds in.

Whoever gives such a lease back removes the dead ones before it too, so that nobody takes them over once more.

A lease saves work and guards nothing: what is committed is decided by the store alone.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from nrf_ray.graph.blobs import Blobs
from nrf_ray.graph.canonical import digest
from nrf_ray.graph.drivers import Driver, Heart, Watch, driver_named
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import LEASE, Store, place_of


class Leases:
    """The leases of one driver, as a context: it is known as alive while the context is open."""

    def __init__(self, store: Store) -> None:
        self._blobs: Blobs = store.blobs
        self._heart = Heart(store.blobs, "run")
        self._watch = Watch()
        self._lease = json.dumps({"driver": self._heart.driver}).encode()
        self._held: dict[str, list[str]] = {}
        """By the first lease of each stage that is ours or being taken: those of the dead, then our own."""

    def __enter__(self) -> Self:
        self._heart.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as ending:  # all of it happens, whatever one part of it raises
            ending.push(self._heart)
            for chain in self._held.values():
                ending.callback(self._drop, chain)

    def take(self, stage: Stage) -> str | None:
        """Take the lease of `stage`; return None, or who else works on it."""
        first = place_of(stage).file(LEASE)
        chain = self._held[first] = [first]  # before it is written: a Ctrl-C may come at any moment
        while True:
            if self._blobs.put_new(chain[-1], self._lease):
                if len(chain) == 1 or self._blobs.exists(chain[0]):
                    break
                self._blobs.delete(chain.pop())  # the dead ones were removed this moment: who starts, starts anew
                del chain[1:]
                continue
            lease = self._blobs.get(chain[-1])
            if lease is None:
                continue  # it has been given back this moment
            follower = _follower(chain[-1], lease)
            if lease == self._lease and not self._blobs.exists(follower):
                break
            holder = _holder(self._blobs, lease)
            if lease != self._lease and holder is not None and self._watch.lives(holder):
                del self._held[first]
                return str(holder)
            chain.append(follower)
        return None

    def took_over(self, stage: Stage) -> bool:
        """Return whether the lease that we hold of `stage` follows that of a run that died with it."""
        return len(self._held[place_of(stage).file(LEASE)]) > 1

    def release(self, stage: Stage) -> None:
        """Give the lease of `stage` back, unless it is not ours any more."""
        name = place_of(stage).file(LEASE)
        self._drop(self._held.get(name, [name]))
        self._held.pop(name, None)

    def _drop(self, chain: Sequence[str]) -> None:
        """Delete our lease and those of the dead that it follows, unless it is not ours any more.

        The first goes first: once it is gone the others say nothing. Where ours was taken over it is what the lease of
        somebody else follows, who will delete all of them.
        """
        ours = chain[-1]
        if self._blobs.get(ours) == self._lease and not self._blobs.exists(_follower(ours, self._lease)):
            for name in chain:
                self._blobs.delete(name)


def running_elsewhere(store: Store, stage: Stage) -> str | None:
    """Return who seems to be working on `stage` now, from one look, or None."""
    name = place_of(stage).file(LEASE)
    holder = None
    while (lease := store.blobs.get(name)) is not None:
        holder = _holder(store.blobs, lease)
        name = _follower(name, lease)
    return None if holder is None or holder.is_known_dead else str(holder)


def _holder(blobs: Blobs, lease: bytes) -> Driver | None:
    """Return the driver that wrote `lease`; None where its file is gone, or the lease says nothing."""
    try:
        return driver_named(blobs, str(json.loads(lease)["driver"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _follower(name: str, lease: bytes) -> str:
    """Return the name of the lease that takes `lease` over."""
    return f"{name.rpartition('/')[0]}/lease-{digest(lease)[:16]}.json"
