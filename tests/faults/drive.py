"""One of several drivers on the same store: `python -m tests.faults.drive STORE DIARY`.

Does what the cluster's driver does, without Ray: plans, takes leases, runs what it gets, waits for what others run. The
diary, outside the store, gets a line for every time that a stage is computed. The bytes that a stage writes are of this
process alone (as on two machines whose arithmetic differs), so files of two runs that were mixed would show.
"""

import os
import random
import sys
import time
from pathlib import Path

from nrf_ray.errors import CorruptArtifact, MissingArtifact
from nrf_ray.graph import drivers
from nrf_ray.graph.execute import Context, execute, to_rebuild
from nrf_ray.graph.frontier import Frontier
from nrf_ray.graph.lease import Leases
from nrf_ray.graph.plan import make_plan
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.graph.store import Artifact, Store
from tests.graph.toys import Toy

DIARY = Path(sys.argv[2] if len(sys.argv) > 2 else os.devnull)
FILES = ("one.bin", "two.bin")


@stage(version=1, cost=lambda handle: 1.0)
def own(config: Toy, context: Context, *, first: Artifact | None = None, second: Artifact | None = None) -> Metrics:
    """Write two files of this process's own bytes, which have to be of one process; measure what all agree on."""
    inputs = [artifact for artifact in (first, second) if artifact]
    assert all(len({artifact.read(name)[:32] for name in FILES}) == 1 for artifact in inputs), "mixed files"
    with DIARY.open("a") as diary:
        diary.write(f"{config.name}\n")
    for name in FILES:
        context.write(name, f"{os.getpid():032d}".encode() + random.randbytes(1000))
        time.sleep(random.random() * config.seconds)
    return {"depth": 1 + max((int(artifact.record.metrics["depth"]) for artifact in inputs), default=0)}


def lattice(width: int, depth: int) -> list[Stage]:
    """Return the last row of a lattice, in which every stage needs two of the row before."""
    row = [own(Toy(name=f"0.{i}", seconds=0.01)) for i in range(width)]
    for level in range(1, depth):
        row = [
            own(Toy(name=f"{level}.{i}", seconds=0.01), first=row[i], second=row[(i + 1) % width]) for i in range(width)
        ]
    return row


GOALS = lattice(6, 5)


def drive(store: Store) -> Frontier:
    """Run all that the goals need, together with whoever else does."""
    frontier = Frontier(make_plan(GOALS, store).todo())
    with Leases(store) as leases:
        while not frontier.finished:
            one = frontier.next_ready(lambda stage: leases.take(stage) is None)
            if one is None:
                time.sleep(0.005)
                continue
            try:
                execute(one, store)
            except (CorruptArtifact, MissingArtifact):
                frontier.reopen(one.key, to_rebuild(one, store), "damaged")
            else:
                frontier.done(one.key)
            leases.release(one)
    return frontier


if __name__ == "__main__":
    drivers.BEAT_SECONDS, drivers.STALE_SECONDS, drivers.LOOK_SECONDS = 0.1, 1.5, 0.02
    drive(Store.open(sys.argv[1], create=True))
