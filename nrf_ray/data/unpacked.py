"""Constructed sets larger than memory: shards unpacked on disk once, and mapped by every process that trains on them.

They are in `<data home>/constructed/<name>`, see `whole`. They can be deleted, and are unpacked again when needed.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nrf_ray.data.places import data_home
from nrf_ray.data.shards import Shard
from nrf_ray.data.whole import ArrayFile, Facts, mapped, whole

IMAGES, TEXTS = "images", "texts"


def unpacked(name: str, shards: Callable[[], Iterator[Shard]]) -> Shard:
    """Return the rows of all `shards`, which are read one at a time, with images that are mapped from disk.

    `name` identifies them: the key of the set, and the choice of its rows.

    Raises:
        ConfigError: there is not enough room on disk.
    """
    folder = data_home() / "constructed" / name
    manifest = whole(folder, (IMAGES, TEXTS), partial(_write, shards), what=f"the constructed set {name}")
    columns = {column: torch.from_numpy(np.array(mapped(folder, column))) for column in manifest["columns"]}
    texts = json.loads(mapped(folder, TEXTS).tobytes())
    return Shard(torch.from_numpy(mapped(folder, IMAGES)), columns, manifest["key"], texts)


def _write(shards: Callable[[], Iterator[Shard]], folder: Path) -> Facts:
    """Write the arrays; return the manifest. Shards are read twice, since files begin with the length of the array."""
    count = sum(len(shard.images) for shard in shards())
    read = shards()
    first = next(read)
    key, parts = first.key, {name: [values] for name, values in first.columns.items()}
    texts = {name: list(lines) for name, lines in first.texts.items()}
    files = {}
    with ArrayFile(folder, IMAGES, first.images.numpy().dtype, (count, *first.images.shape[1:])) as out:
        out.write(first.images.numpy().tobytes())
        del first
        for shard in read:
            out.write(shard.images.numpy().tobytes())
            for name, values in shard.columns.items():
                parts[name].append(values)
            for name, lines in shard.texts.items():
                texts[name] += lines
    files[IMAGES] = out.entry
    columns = {name: torch.cat(values) for name, values in parts.items()}
    for name, array in {**columns, TEXTS: _bytes(json.dumps(texts))}.items():
        with ArrayFile(folder, name, array.numpy().dtype, tuple(array.shape)) as out:
            out.write(array.numpy().tobytes())
        files[name] = out.entry
    return {"key": key, "columns": list(columns), "files": files}


def _bytes(text: str) -> Tensor:
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
