"""A constructed set in the store: its shards, their metrics, and the rows that are trained on."""

from functools import partial
from typing import TYPE_CHECKING

from nrf_ray.constructions.construct_spec import COLUMNS, TEXTS, ConstructSpec
from nrf_ray.constructions.registry import craft_of
from nrf_ray.data.catalogue import info_of
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics
from nrf_ray.graph.store import Artifact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from nrf_ray.data.images import LabelledImages
    from nrf_ray.data.shards import Shard
    from nrf_ray.graph.store import Leftover

BINS = 20
"""Number of bins of a norm histogram: equal parts of the range from 0 to the largest norm."""


def shard_name(index: int) -> str:
    """Return the file name of a shard."""
    return f"part-{index:05d}.parquet"


def constructed_rows(artifact: Artifact, *, changed_only: bool = False) -> "Shard":
    """Return all rows of a constructed set, or only those with t != y; large sets are mapped from disk."""
    from nrf_ray.data.batches import RESIDENT_BYTES
    from nrf_ray.data.shards import concatenate
    from nrf_ray.data.unpacked import unpacked

    names = artifact.names()
    shards = _shards(artifact, changed_only)
    first = next(shards)
    if first.images.nbytes * len(names) > RESIDENT_BYTES:
        name = artifact.record.key + ("-changed" if changed_only else "")
        return unpacked(name, partial(_shards, artifact, changed_only))
    return concatenate([first, *shards])


def _shards(artifact: Artifact, changed_only: bool) -> "Iterator[Shard]":
    """Yield the shards one by one, with all their rows or only those with t != y."""
    from nrf_ray.data.shards import read_shard, rows_of

    for name in artifact.names():
        shard = read_shard(artifact.read(name))
        yield rows_of(shard, shard.columns["label"] != shard.columns["true_label"]) if changed_only else shard


def constructed_set(artifact: Artifact, *, changed_only: bool = False) -> "LabelledImages":
    """Return a constructed set to train on: its images with their labels t, or only the rows with t != y."""
    from nrf_ray.data.images import LabelledImages

    rows = constructed_rows(artifact, changed_only=changed_only)
    return LabelledImages(images=rows.images, labels=rows.columns["label"])


def finished_shard(context: Context, index: int) -> "tuple[Shard, Leftover] | None":
    """Return a complete shard and its file in the store, or None.

    No record covers the shard yet, so it must be intact to the byte, belong to this stage, and have the expected rows
    and columns: a run with another number of rows per file gives its files the same names.
    """
    from nrf_ray.data.shards import is_intact, read_shard

    config: ConstructSpec = context.stage.config
    rows = config.rows_of(index)
    shape = (len(rows), *info_of(config.dataset).shape)
    texts = TEXTS if config.replaces_words else ()
    expected = (context.stage.key, COLUMNS, shape, f"torch.{config.storage}", texts)
    for leftover in context.unfinished(shard_name(index)):
        try:
            shard = read_shard(leftover.data)
        except ValueError:
            continue
        about = (tuple(shard.images.shape), str(shard.images.dtype), tuple(shard.texts))
        found = (shard.key, tuple(shard.columns), *about)
        if found == expected and shard.columns["index"].tolist() == list(rows) and is_intact(shard, leftover.data):
            return shard, leftover
    return None


def refuse(index: int) -> "tuple[Shard, Leftover]":
    """Raise OSError because a shard that was written cannot be read back."""
    raise OSError(f"shard {index} was written but cannot be read back whole; check the disk under the store")


def measure(config: ConstructSpec, rows: "Shard") -> Metrics:
    """Return the metrics of a whole set. Shares are of rows; those of a source's predictions are None without one."""
    columns = rows.columns
    by_source = not config.is_control

    def share_of_target(name: str) -> float | None:
        return _mean(columns[name] == columns["label"]) if by_source else None

    return {
        "n": len(columns["label"]),
        "share_target_is_label": _mean(columns["label"] == columns["true_label"]),
        "share_unmoved": _mean(~columns["moved"]),
        "mean_norm": _mean(columns["norm"]),
        "max_norm": float(columns["norm"].max()),
        "norm_histogram": _histogram(columns["norm"]),
        "mean_distance": _mean(columns["distance"]),
        "mean_loss": _mean(columns["loss"]) if by_source else None,
        "fooling_rate_crafted": share_of_target("prediction"),
        "fooling_rate": share_of_target("prediction_stored"),
        "gradients": craft_of(config.craft).gradients(config.craft) * len(columns["label"]),
    }


def _mean(values: "Tensor") -> float:
    return float(values.double().mean())


def _histogram(values: "Tensor") -> list[int]:
    """Return the number of values in each of BINS equal parts of the range from 0 to the largest value."""
    import torch

    largest = float(values.max())
    return [int(count) for count in torch.histc(values.float(), bins=BINS, min=0.0, max=largest or 1.0)]
