"""Builds of constructed sets at CIFAR's size: through Ray Data as a trial does them, and in plain processes."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.cluster.session import connect
from nrf_ray.cluster.shards import map_on_actors, trial_request
from nrf_ray.constructions.construct_spec import ConstructSpec
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.graph.execute import execute
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import Store
from nrf_ray.stages.construct import CraftShard, construct
from nrf_ray.stages.train import TrainSpec, train
from nrf_ray.training.recipes import Recipe

SHAPE, CLASSES = (3, 32, 32), 10


@dataclass(frozen=True, kw_only=True)
class Build:
    """A set to be constructed: what decides its cost."""

    images: int
    arch: str
    steps: int
    shards: int


class Workshop:
    """A folder with images and a trained source, in which sets are built again and again."""

    def __init__(self, folder: Path) -> None:
        os.environ["NRF_DATA"] = str(folder / "data")
        self.folder, self._numbers = folder, count()

    def stage(self, build: Build) -> Stage:
        """Return the set's stage; the source learns from its first images, in one pass."""
        file = self.folder / f"noise-{build.images}.parquet"
        if not file.exists():
            write_noise(file, build.images)
        spec = TrainSpec(
            arch=build.arch,
            dataset=dataset_named(f"parquet:{file}[:512]").ref,
            recipe=Recipe(epochs=1, lr=0.01),
            seed=0,
        )
        craft = pgd_attack("l2", 0.5, steps=build.steps, targeted=True)
        made = ConstructSpec(
            dataset=dataset_named(f"parquet:{file}").ref,
            construction="d_rand",
            craft=craft,
            seed=0,
            shard_rows=-(-build.images // build.shards),
        )
        return construct(made, source=train(spec))

    def store_for(self, stage: Stage) -> str:
        """Return a new store in which nothing but the source of `stage` is there."""
        source = stage.inputs["source"]
        kept = self.folder / "sources"
        execute(source, Store.open(str(kept), create=True))
        new = self.folder / f"store-{next(self._numbers)}"
        shutil.copytree(kept, new)
        return str(new)


@contextmanager
def workshop() -> Iterator[Workshop]:
    """Make a workshop, with a local Ray, and take both away again."""
    with tempfile.TemporaryDirectory() as folder, connect(None):
        yield Workshop(Path(folder))


def through_ray_data(stage: Stage, store_uri: str, actors: int) -> None:
    """Build `stage` as a trial does it: in a placement group of its own, on a pool of `actors`."""
    import ray
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    group = trial_request(stage.resources, actors)()
    ray.get(group.ready())
    place = PlacementGroupSchedulingStrategy(group, 0, placement_group_capture_child_tasks=True)
    try:
        ray.get(ray.remote(_build).options(num_cpus=0, scheduling_strategy=place).remote(stage, store_uri, actors))
    finally:
        ray.util.remove_placement_group(group)


def _build(stage: Stage, store_uri: str, actors: int) -> None:
    shards = partial(map_on_actors, stage=stage, actors=actors, crashes=None)
    execute(stage, Store.open(store_uri, create=False), map_shards=shards)


class BareLoops:
    """Plain processes that craft a part of a set each, and keep nothing: no Ray, no store, no shards on disk."""

    def __init__(self, stage: Stage, store_uri: str, processes: int) -> None:
        self._rows, context = stage.config.num_rows, get_context("spawn")
        pipes = [context.Pipe() for _ in range(processes)]
        self._pipes = [ours for ours, _ in pipes]
        for _, theirs in pipes:
            context.Process(target=_serve, args=(stage, store_uri, theirs), daemon=True).start()
        self._wait()

    def run(self) -> None:
        """Craft the whole set once."""
        share = -(-self._rows // len(self._pipes))
        for number, pipe in enumerate(self._pipes):
            pipe.send((number * share, min((number + 1) * share, self._rows)))
        self._wait()

    def close(self) -> None:
        """End the processes."""
        for pipe in self._pipes:
            pipe.send(None)
        self._wait()

    def _wait(self) -> None:
        for pipe in self._pipes:
            pipe.recv()


def _serve(stage: Stage, store_uri: str, pipe: Connection) -> None:
    """Load model and images into this process, craft one image to warm it up, then the rows that are asked for."""
    worker = CraftShard(stage, store_uri)
    config: ConstructSpec = worker.setup.config
    part: tuple[int, int] | None = (0, 1)
    while part is not None:
        for start in range(*part, config.batch_rows):
            rows = slice(start, min(start + config.batch_rows, part[1]))
            worker.make(rows)
        pipe.send("done")
        part = pipe.recv()
    pipe.send("over")


def write_noise(path: Path, images: int) -> None:
    """Write a parquet set of random images, and 256 of them for testing."""
    total = images + 256
    drawn = np.random.default_rng(0)
    pixels = pa.FixedSizeListArray.from_arrays(
        pa.array(drawn.integers(0, 256, total * int(np.prod(SHAPE)), dtype=np.uint8)), int(np.prod(SHAPE))
    )
    columns = {
        "image": pixels,
        "label": drawn.integers(0, CLASSES, total),
        "split": ["train"] * images + ["test"] * 256,
    }
    pq.write_table(pa.table(columns), path, row_group_size=4096)
