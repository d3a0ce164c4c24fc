"""Stages that cost nothing, say where they ran, and fail on request, for the tests of the cluster layer."""

import ctypes
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import ray

from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.graph.store import Artifact, Store
from nrf_ray.sweep.sweep import Sweep
from nrf_ray.sweep.table import Column, Measure, Row, Table

TOYS = Table(
    "toys",
    "one toy stage",
    (Column("name", "string", "name"), Column("value", "int64", "value", "toys"), Column("key", "string", "key")),
)
ROOM = 256 * 2**20
"""Bytes of address space that a toy which exhausts memory has left."""

MEETING_SECONDS = 240.0
"""How long a toy waits for an event."""

Fault = Literal["", "raises", "exits", "exits once", "segfaults", "exhausts memory"]


@dataclass(frozen=True, kw_only=True)
class Toy:
    """A toy's behaviour."""

    name: str
    seconds: float = 0.0
    fault: Fault = ""
    marker: str = ""
    """File by which a toy that fails once knows that it has, or folder where toys meet."""
    num_shards: int = 1
    num_workers: int = 1
    meet: int = 0
    """How many stages or shards come to the folder `marker` and wait there for one another."""
    gate: str = ""
    """File without which a shard worker makes no more than its first shards."""
    before_gate: int = 1
    """How many those are."""


@stage(version=1, cost=lambda handle: handle.config.seconds)
def toy(config: Toy, context: Context, *, first: Artifact | None = None, second: Artifact | None = None) -> Metrics:
    """Write one file; its value is one more than the sum over the inputs."""
    time.sleep(config.seconds)
    misbehave(config)
    inputs = [artifact for artifact in (first, second) if artifact]
    for artifact in inputs:
        artifact.read("value.txt")
    value = 1 + sum(int(artifact.record.metrics["value"]) for artifact in inputs)
    context.write("value.txt", str(value).encode())
    return {"value": value}


@stage(version=1, cost=lambda handle: 1.0)
def meeting(config: Toy, context: Context) -> Metrics:
    """Meet others that run at the same time, and write where it ran."""
    meet(config, config.name)
    context.write("place.txt", where().encode())
    return {"value": 1}


@stage(version=1, cost=lambda handle: handle.config.seconds, on_gpu=False)
def place(config: Toy, context: Context) -> Metrics:
    """Write where it ran; a stage of a kind that has no use for a GPU."""
    time.sleep(config.seconds)
    context.write("place.txt", where().encode())
    return {"value": 1}


@stage(version=1, cost=lambda handle: handle.config.seconds)
def place_on_gpu(config: Toy, context: Context) -> Metrics:
    """Write where it ran; a stage of a kind that runs on GPUs where there are any."""
    meet(config, config.name)
    context.write("place.txt", where().encode())
    return {"value": 1}


@stage(version=1, cost=lambda handle: float(handle.config.num_shards))
def wide(config: Toy, context: Context, *, first: Artifact | None = None) -> Metrics:
    """Write `num_shards` files, each by a shard worker that writes where it ran."""
    missing = [shard for shard in range(config.num_shards) if not any(context.unfinished(f"{shard}.txt"))]
    context.map_shards(partial(ShardToy, context.stage, context.store.uri), missing)
    for shard in range(config.num_shards):
        context.adopt(next(context.unfinished(f"{shard}.txt")))
    return {"value": config.num_shards}


class ShardToy:
    """Writes where a shard was made."""

    def __init__(self, made_by: Stage, uri: str) -> None:
        self.stage, self.store = made_by, Store.open(uri, create=False)
        self.made = 0
        for handle in made_by.inputs.values():
            self.store.artifact(handle).read("value.txt")

    def __call__(self, shard: int) -> None:
        """Make one shard."""
        time.sleep(self.stage.config.seconds)
        misbehave(self.stage.config)
        if self.stage.config.meet:
            meet(self.stage.config, f"shard {shard}")
        if self.stage.config.gate and self.made >= self.stage.config.before_gate:
            wait_for(Path(self.stage.config.gate).exists, "the gate was closed")
        self.store.write(self.stage, f"{shard}.txt", where().encode())
        self.made += 1


def where() -> str:
    """Return node, process and GPUs of the caller."""
    node = ray.get_runtime_context().get_node_id()
    return f"{node} {os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES', '')}"


def meet(config: Toy, name: str) -> None:
    """Come to the folder `config.marker` as `name`, and stay there until `config.meet` have come."""
    folder = Path(config.marker)
    folder.mkdir(exist_ok=True)
    (folder / name).touch()
    wait_for(lambda: len(list(folder.iterdir())) >= config.meet, f"not all of {config.meet} came")


def wait_for(event: Callable[[], bool], otherwise: str) -> None:
    """Return as soon as `event()` is true, or raise TimeoutError with `otherwise`."""
    until = time.monotonic() + MEETING_SECONDS
    while not event():
        if time.monotonic() > until:
            raise TimeoutError(f"{otherwise} within {MEETING_SECONDS:g} s")
        time.sleep(0.05)


def misbehave(config: Toy) -> None:
    """Do what `config.fault` says."""
    match config.fault:
        case "raises":
            raise ValueError(f"{config.name} was told to fail")
        case "exits":
            os._exit(9)
        case "exits once" if not Path(config.marker).exists():
            Path(config.marker).touch()
            os._exit(9)
        case "segfaults":
            ctypes.string_at(0)
        case "exhausts memory":
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit = pages * resource.getpagesize() + ROOM
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
            bytearray(4 * ROOM)


@stage(version=1, cost=lambda handle: 1.0)
def together(config: Toy, context: Context) -> Metrics:
    """Sum up the numbers of `num_workers` workers, in what they say to each other; misbehave in the last of them."""
    value = context.replicate(partial(_in_worker, context.stage, context.store.uri), config.num_workers)
    return {"value": value}


def _in_worker(made_by: Stage, uri: str) -> int:
    import torch
    from torch import distributed as dist

    context = Context(store=Store.open(uri, create=False), stage=made_by)
    config: Toy = made_by.config
    resumed = context.latest_checkpoint() is not None
    if dist.get_rank() == 0 and not resumed:
        context.save_checkpoint(1, b"state")
    dist.barrier()
    if dist.get_rank() == config.num_workers - 1:
        misbehave(config)
    numbers = torch.tensor(dist.get_rank() + 1)
    dist.all_reduce(numbers)
    return int(numbers) + (100 if resumed else 0)


def sweep_of(*stages: Stage) -> Sweep:
    """Return a sweep with one row for each of `stages`."""
    rows = (
        Row(table=TOYS, facts={"name": s.config.name, "key": s.key}, measures={"value": Measure(s, "value")})
        for s in stages
    )
    return Sweep("toys", tuple(rows))
