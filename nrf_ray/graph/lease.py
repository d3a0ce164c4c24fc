"""Leases: so that two runs on one store seldom do the same work twice.

A driver that hands out a stage writes a lease with its name. A driver that finds a lease checks whether its holder is
alive. If the holder is dead, the driver takes the lease over by writing the lease that follows it; if several drivers
try, one succeeds.

A driver that gives such a lease back also deletes the dead drivers' leases before it, so that they are not taken over
once more.

A lease saves work and protects nothing: the store alone decides what is committed.
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
    """Context manager for the leases of one driver, which is known as alive while it is open."""

    def __init__(self, store: Store) -> None:
        self._blobs: Blobs = store.blobs
        self._heart = Heart(store.blobs, "run")
        self._watch = Watch()
        self._lease = json.dumps({"driver": self._heart.driver}).encode()
        self._held: dict[str, list[str]] = {}
        """Leases of each stage that is ours or being taken, by the first: those of dead drivers, then our own."""

    def __enter__(self) -> Self:
        self._heart.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as ending:  # every part runs, even if another one raises
            ending.push(self._heart)
            for chain in self._held.values():
                ending.callback(self._drop, chain)

    def take(self, stage: Stage) -> str | None:
        """Take the lease of `stage` and return None, or return which other driver works on it."""
        first = place_of(stage).file(LEASE)
        chain = self._held[first] = [first]  # before it is written: a Ctrl-C may come at any moment
        while True:
            if self._blobs.put_new(chain[-1], self._lease):
                if len(chain) == 1 or self._blobs.exists(chain[0]):
                    break
                self._blobs.delete(chain.pop())  # the leases before it were just deleted: start again
                del chain[1:]
                continue
            lease = self._blobs.get(chain[-1])
            if lease is None:
                continue  # it has just been given back
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
        """Return whether our lease of `stage` follows the lease of a run that died holding it."""
        return len(self._held[place_of(stage).file(LEASE)]) > 1

    def release(self, stage: Stage) -> None:
        """Give the lease of `stage` back, unless it is no longer ours."""
        name = place_of(stage).file(LEASE)
        self._drop(self._held.get(name, [name]))
        self._held.pop(name, None)

    def _drop(self, chain: Sequence[str]) -> None:
        """Delete our lease and the dead drivers' leases before it, unless it is no longer ours.

        Delete the first lease of the chain first: without it the later ones have no meaning. If another driver took our
        lease over, delete nothing; that driver deletes the whole chain.
        """
        ours = chain[-1]
        if self._blobs.get(ours) == self._lease and not self._blobs.exists(_follower(ours, self._lease)):
            for name in chain:
                self._blobs.delete(name)


def running_elsewhere(store: Store, stage: Stage) -> str | None:
    """Return which driver seems to be working on `stage` now, without watching its counter, or None."""
    name = place_of(stage).file(LEASE)
    holder = None
    while (lease := store.blobs.get(name)) is not None:
        holder = _holder(store.blobs, lease)
        name = _follower(name, lease)
    return None if holder is None or holder.is_known_dead else str(holder)


def _holder(blobs: Blobs, lease: bytes) -> Driver | None:
    """Return the driver that wrote `lease`, or None if the driver's file is missing or damaged, or the lease is."""
    try:
        return driver_named(blobs, str(json.loads(lease)["driver"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _follower(name: str, lease: bytes) -> str:
    """Return the name of the lease that takes over `lease`, which is called `name`."""
    return f"{name.rpartition('/')[0]}/lease-{digest(lease)[:16]}.json"
