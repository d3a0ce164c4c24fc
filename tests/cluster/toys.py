"""Stages that cost nothing and fail on request, for the tests of the cluster layer."""

import os
import time
from dataclasses import dataclass
from functools import partial

from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.graph.store import Artifact, Store
from nrf_ray.sweep import Sweep
from nrf_ray.tables import Column, Measure, Row, Table

TOYS = Table(
    "toys",
    "one toy stage",
    (Column("name", "string", "name"), Column("value", "int64", "value", "toys"), Column("key", "string", "key")),
)


@dataclass(frozen=True, kw_only=True)
class Toy:
    """A toy's behaviour."""

    name: str
    seconds: float = 0.0
    raises: bool = False
    dies: bool = False
    num_shards: int = 1


@stage(version=1, cost=lambda handle: handle.config.seconds)
def toy(config: Toy, context: Context, *, first: Artifact | None = None, second: Artifact | None = None) -> Metrics:
    """Write one file; its value is one more than the sum over the inputs."""
    time.sleep(config.seconds)
    if config.dies:
        os._exit(9)
    if config.raises:
        raise ValueError(f"{config.name} was told to fail")
    inputs = [artifact for artifact in (first, second) if artifact]
    for artifact in inputs:
        artifact.read("value.txt")
    value = 1 + sum(int(artifact.record.metrics["value"]) for artifact in inputs)
    context.write("value.txt", str(value).encode())
    return {"value": value}


@stage(version=1, cost=lambda handle: float(handle.config.num_shards))
def wide(config: Toy, context: Context) -> Metrics:
    """Write `num_shards` files, each by a shard worker."""
    context.map_shards(partial(ShardToy, context.stage, context.store.uri), range(config.num_shards))
    for shard in range(config.num_shards):
        context.adopt(next(context.unfinished(f"{shard}.txt")))
    return {"value": config.num_shards}


class ShardToy:
    """Writes the process that made a shard."""

    def __init__(self, made_by: Stage, uri: str) -> None:
        self.stage, self.store = made_by, Store.open(uri, create=False)

    def __call__(self, shard: int) -> None:
        """Make one shard."""
        time.sleep(self.stage.config.seconds)
        self.store.write(self.stage, f"{shard}.txt", str(os.getpid()).encode())


def sweep_of(*stages: Stage) -> Sweep:
    """Return a sweep with one row for each of `stages`."""
    rows = (
        Row(table=TOYS, facts={"name": s.config.name, "key": s.key}, measures={"value": Measure(s, "value")})
        for s in stages
    )
    return Sweep("toys", tuple(rows))
