"""Rows of a constructed set to show: their choice, their contents and their originals as arrays."""

import json
from typing import TYPE_CHECKING, Any

from nrf_ray.data.catalogue import DATASETS, DatasetRef
from nrf_ray.page.snapshot import Start

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Floats = npt.NDArray[np.float32]

SHOWN = 8
"""Number of rows shown per set."""


def rows_shown(shard: "pa.Table") -> list[int]:
    """Return the indices of the rows of a shard to show: changed rows first, of as many classes as possible."""
    labels, moved = (shard[name].to_pylist() for name in ("true_label", "moved"))
    seen: dict[int, int] = {}
    ranked = []
    for row in sorted(range(len(labels)), key=lambda row: (not moved[row], row)):
        label = labels[row]
        seen[label] = seen.get(label, 0) + 1
        ranked.append((not moved[row], seen[label], label, row))
    return [row for *_, row in sorted(ranked)[:SHOWN]]


def start_of(shard: "pa.Table", rows: list[int]) -> Start:
    """Return the kind of start that `rows` of a shard were made from."""
    starts, indices = (shard[name].take(rows).to_pylist() for name in ("start", "index"))
    if min(starts, default=0) < 0:
        return Start.NOISE
    return Start.ITSELF if starts == indices else Start.OTHER


def constructed_of(shard: "pa.Table", rows: list[int]) -> "Floats":
    """Return the constructed examples in `rows` of a shard, [n, c, h, w] in [0, 1]."""
    import numpy as np

    meta = json.loads(shard.schema.metadata[b"nrf_ray"])
    pixels = shard["image"].take(rows).combine_chunks().flatten().to_numpy(zero_copy_only=False)
    shaped: Floats = pixels.reshape(-1, *meta["shape"]).astype(np.float32) / np.float32(meta["scale"])
    return shaped


def originals_of(ref: DatasetRef, split: str) -> "npt.NDArray[Any]":
    """Return all examples of a split, [n, c, h, w]; if possible without torch, which the driver does not need."""
    if ref.location:
        from nrf_ray.data.prepared import prepared
        from nrf_ray.data.pushed import located_of

        arrays = prepared(located_of(ref.location, ref.digest))
        return arrays.train_images if split == "train" else arrays.test_images
    if ref.name in DATASETS:
        from nrf_ray.data.digits import arrays as digits

        train, test = digits()
        return train.images if split == "train" else test.images
    from nrf_ray.data.load import test_split, train_split

    return (train_split if split == "train" else test_split)(ref).images.numpy()


def as_floats(images: "npt.NDArray[Any]") -> "Floats":
    """Return examples of a dataset as float32 in [0, 1]."""
    import numpy as np

    return (images / np.float32(255) if images.dtype == np.uint8 else images).astype(np.float32)


def arrow(true: int, target: int) -> str:
    """Return the true label of an example and, if it differs, the label that the example has in the set."""
    return f"{true}" if true == target else f"{true} → {target}"
