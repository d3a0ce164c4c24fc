"""Images with additional columns, as parquet files that every parquet reader understands.

An image is a fixed-size list of uint8 (0..255) or float32 (0..1) in c, h, w order; the shape is in the file's metadata.
Pages have checksums, so damage is detected when the file is read. The same rows give the same bytes.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

FORMAT = 1


class Shard(NamedTuple):
    """Rows of a constructed or attacked set."""

    images: Tensor
    """[n, c, h, w], uint8 or float32."""
    columns: Mapping[str, Tensor]
    """Numeric columns beside the images, [n] each."""
    key: str
    """Key of the stage that made the rows."""
    texts: Mapping[str, Sequence[str]] = {}
    """Columns of readable text, n strings each; empty for images."""


def write_shard(shard: Shard) -> bytes:
    """Return `shard` as the bytes of a parquet file."""
    flat = shard.images.contiguous().flatten(1)
    pixels = pa.FixedSizeListArray.from_arrays(pa.array(flat.numpy().ravel()), flat.shape[1])
    columns = {name: pa.array(values.numpy()) for name, values in shard.columns.items()}
    columns |= {name: pa.array(values, pa.string()) for name, values in shard.texts.items()}
    meta = {
        "format": FORMAT,
        "key": shard.key,
        "shape": list(shard.images.shape[1:]),
        "layout": "CHW",
        "scale": _scale(flat),
    }
    table = pa.table({**columns, "image": pixels}).replace_schema_metadata({"nrf_ray": json.dumps(meta)})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


def read_shard(data: bytes) -> Shard:
    """Return the rows in a parquet file. Raises ValueError if it is not one of our shards, or a page is damaged."""
    try:
        table = pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
        meta = json.loads(table.schema.metadata[b"nrf_ray"])
        images = table["image"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        strings = [name for name in table.column_names if table.schema.field(name).type == pa.string()]
        columns = {name: _tensor(table[name]) for name in table.column_names if name not in ("image", *strings)}
        texts = {name: table[name].to_pylist() for name in strings}
        return Shard(_from_numpy(images).view(-1, *meta["shape"]), columns, meta["key"], texts)
    except (OSError, KeyError, TypeError, AttributeError, RuntimeError, MemoryError, pa.ArrowException) as error:
        raise ValueError(f"not a readable shard: {error}") from error


def is_intact(shard: Shard, data: bytes) -> bool:
    """Return whether `data`, from which `shard` was read, equals the bytes that `write_shard` makes of `shard`.

    Checksums cover the pages of a parquet file and not its footer. This comparison also covers the footer, except for
    the names and numbers that are in `shard`.
    """
    return write_shard(shard) == data


def rows_of(shard: Shard, chosen: Tensor) -> Shard:
    """Return the rows of `shard` where `chosen` [n] is True."""
    columns = {name: values[chosen] for name, values in shard.columns.items()}
    texts = {
        name: [line for line, kept in zip(lines, chosen.tolist(), strict=True) if kept]
        for name, lines in shard.texts.items()
    }
    return Shard(shard.images[chosen], columns, shard.key, texts)


def concatenate(shards: list[Shard]) -> Shard:
    """Return the rows of all `shards`, which come from one stage, in order."""
    columns = {name: torch.cat([shard.columns[name] for shard in shards]) for name in shards[0].columns}
    texts = {name: [text for shard in shards for text in shard.texts[name]] for name in shards[0].texts}
    return Shard(torch.cat([shard.images for shard in shards]), columns, shards[0].key, texts)


class RowsDigest:
    """One digest over the rows of a set: the same in however many files they are, and whichever process reads them."""

    def __init__(self) -> None:
        self._columns: dict[str, hashlib._Hash] = {}

    def add(self, shard: Shard) -> None:
        """Take in the next rows."""
        for name, values in {"image": shard.images, **shard.columns}.items():
            self._of(name, str(values.dtype)).update(values.contiguous().numpy().reshape(-1).data)
        for name, lines in shard.texts.items():
            of = self._of(name, "text")
            for line in lines:
                data = line.encode()
                of.update(len(data).to_bytes(8, "little") + data)

    def hexdigest(self) -> str:
        """Return the digest, 64 hexadecimal digits."""
        every = {name: column.hexdigest() for name, column in self._columns.items()}
        return hashlib.sha256(json.dumps(every, sort_keys=True).encode()).hexdigest()

    def _of(self, name: str, kind: str) -> "hashlib._Hash":
        return self._columns.setdefault(name, hashlib.sha256(kind.encode()))


def _scale(images: Tensor) -> int:
    return 255 if images.dtype == torch.uint8 else 1


def _tensor(column: pa.ChunkedArray) -> Tensor:
    return _from_numpy(column.to_numpy())


def _from_numpy(values: npt.NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.array(values))
