"""Parquet: a column `image`, a column `label`, and perhaps a column `split` with train and test.

An image is PNG or JPEG bytes, alone or as Hugging Face keeps them (a struct of bytes and path), or a fixed-size list of
uint8 in 0..255 or of floats in [0, 1], in c, h, w order; its shape stands in the metadata of nrf_ray's own shards, else
it is square with three channels or one. Floats are rounded to 8 bits.

The path is one file, or a folder whose files are called train..., and test... or validation..., as on Hugging Face.
"""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nrf_ray.data.outline import BATCH_ROWS, Batch, Outline, Rows, Split, check_labels, count_classes
from nrf_ray.data.readers.columns import files_of, labels_of, opened, split_column, splits_of
from nrf_ray.data.readers.pictures import decode, picture_shape
from nrf_ray.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def files(path: Path) -> Sequence[Path]:
    """Return the parquet files at `path`, by name."""
    return files_of(path, list(path.glob("*.parquet")), "parquet")


def outline(path: Path) -> Outline:
    """Read the columns label and split, and the first image."""
    labels: dict[Split, list[int]] = {"train": [], "test": []}
    found = files(path)
    for file in found:
        for split, label in zip(_splits(path, file, found), labels_of(file), strict=True):
            labels[split].append(label)
    num_classes = count_classes(labels["train"], path)
    check_labels(labels["test"], num_classes, path)
    return Outline(
        shape=_shape(found[0]),
        num_classes=num_classes,
        num_train=len(labels["train"]),
        num_test=len(labels["test"]),
    )


def read(path: Path, split: Split, rows: Rows) -> Iterator[Batch]:
    """Yield `rows` of `split`; only images that are asked for are decoded."""
    import numpy as np

    found, first = files(path), 0
    shape = _shape(found[0])
    for file in found:
        ours = np.array([own == split for own in _splits(path, file, found)])
        numbers = np.where(ours, np.cumsum(ours) - 1 + first, -1)
        first += int(ours.sum())
        wanted = np.isin(numbers, rows)
        start = 0
        for batch in _open(file).iter_batches(batch_size=BATCH_ROWS, columns=["image", "label"]):
            chosen = np.flatnonzero(wanted[start : start + len(batch)])
            if len(chosen):
                part = batch.take(chosen)
                images = _pixels(part["image"], file, start + chosen, shape)
                yield Batch(images, part["label"].to_numpy(zero_copy_only=False).astype(np.int64))
            start += len(batch)


def _open(file: Path) -> Any:
    return opened(file, "image", "label")


def _splits(path: Path, file: Path, beside: Sequence[Path]) -> list[Split]:
    return splits_of(path, file, beside, split_column(file), int(_open(file).metadata.num_rows))


def _shape(file: Path) -> tuple[int, int, int]:
    import pyarrow as pa

    found = _open(file)
    kind = found.schema_arrow.field("image").type
    if pa.types.is_fixed_size_list(kind):
        about = json.loads((found.schema_arrow.metadata or {}).get(b"nrf_ray", b"{}"))
        shape = tuple(about.get("shape") or _square(kind.list_size, file))
        if len(shape) != 3 or math.prod(shape) != kind.list_size:
            raise ConfigError(f"{file} says that its images are {shape}, but they have {kind.list_size} values")
        return shape
    try:
        first = next(found.iter_batches(batch_size=1, columns=["image"]))["image"]
    except (StopIteration, pa.ArrowException, OSError) as error:
        raise ConfigError(f"{file} has no image that can be read") from error
    return picture_shape(_encoded(first, file)[0], f"row 0 of {file}")


def _square(size: int, file: Path) -> tuple[int, int, int]:
    for channels in (3, 1):
        side = math.isqrt(size // channels)
        if channels * side * side == size:
            return (channels, side, side)
    raise ConfigError(f"{file} has images of {size} values, which are no square of three channels or one")


def _encoded(column: Any, file: Path) -> list[bytes]:
    """Return the images of `column` as PNG or JPEG bytes."""
    import pyarrow as pa

    if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        column = column.field("bytes")
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        raise ConfigError(
            f"{file} has images of type {column.type}; they have to be PNG or JPEG bytes, a struct of bytes and path, "
            "or a fixed-size list of uint8 or floats"
        )
    if column.null_count:
        raise ConfigError(f"{file} has {column.null_count} rows without the bytes of an image")
    return list(column.to_pylist())


def _pixels(column: Any, file: Path, rows: Rows, shape: tuple[int, int, int]) -> "npt.NDArray[np.uint8]":
    import numpy as np
    import pyarrow as pa

    if not pa.types.is_fixed_size_list(column.type):
        encoded = zip(rows, _encoded(column, file), strict=True)
        return np.stack([decode(data, f"row {row} of {file}", shape) for row, data in encoded])
    flat = column.flatten()
    if column.null_count or flat.null_count:
        raise ConfigError(f"{file} has rows without an image")
    return as_levels(flat.to_numpy(), str(file)).reshape(-1, *shape)


def as_levels(values: "npt.NDArray[Any]", where: str) -> "npt.NDArray[np.uint8]":
    """Return pixels as uint8: as they are, or floats in [0, 1] rounded to the nearest of 256 levels."""
    import numpy as np

    if values.dtype == np.uint8:
        return values
    if not np.issubdtype(values.dtype, np.floating):
        raise ConfigError(f"{where} has pixels of type {values.dtype}; they have to be uint8, or floats in [0, 1]")
    if len(values) and not (values.min() >= 0 and values.max() <= 1):
        raise ConfigError(f"{where} has pixels from {values.min()} to {values.max()}; floats have to be in [0, 1]")
    return np.rint(values.astype(np.float64) * 255).astype(np.uint8)
