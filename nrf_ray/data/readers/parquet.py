"""Parquet: a column `image` or `img`, a column `label`, and optionally a column `split` with train and test.

`hf_cache` reads Arrow files with the same columns.

An image is PNG or JPEG bytes, alone or as Hugging Face stores them (a struct of bytes and path), or a fixed-size list
of uint8 in 0..255 or of floats in [0, 1], in c, h, w order. The shape of such a list is in the metadata of nrf_ray's
own shards; otherwise it is square with three channels or one. Floats are rounded to 8 bits. [label=NAME] behind the
path names another column of labels. [size=64,crop=center] resizes encoded images (`sized`).

The path is one file, or a folder whose files' names say their splits (see `members`). Files without rows are ignored.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nrf_ray.data.members import PARQUET, Member, files_of, passed_over
from nrf_ray.data.outline import (
    AS_IS,
    BATCH_ROWS,
    NONE,
    Batch,
    Choices,
    Format,
    Outline,
    Rows,
    Split,
    classes_of,
    pack,
    rows_at_once,
)
from nrf_ray.data.readers.columns import (
    Splits,
    agreed_names,
    class_names,
    label_column,
    labels_of,
    opened,
    split_column,
    splits_of,
    told_by,
    whole_numbers,
)
from nrf_ray.data.readers.headers import header_of, plain_pngs
from nrf_ray.data.readers.pictures import Picture, picture_shape, problems, refuse
from nrf_ray.data.readers.sized import checked_by, decode_as, sized_shape
from nrf_ray.data.readers.split_columns import Said, check_said
from nrf_ray.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

IMAGE = ("image", "img")
"""Possible names of the column of images; a file has one of them."""


class Shard(NamedTuple):
    """A file of a set that has rows."""

    file: Path
    form: Any
    """The opened file."""
    image: str
    """Name of the column of images."""
    label: str
    """Name of the column of labels."""
    rows: int
    member: Member
    """The file, with the names that say its split."""


Source = Callable[[Path], Sequence[Member]]
"""Function that returns the files of a set, with the names that say their splits."""


def parquet_in(path: Path) -> Sequence[Member]:
    """Return the parquet files at `path`, sorted by name."""
    return files_of(path, PARQUET)


def format_of(choices: Choices = AS_IS) -> Format:
    """Return the format of parquet files of images, with the choices of a name."""
    return Format(
        files=partial(files, source=parquet_in),
        outline=partial(outline, choices=choices, source=parquet_in),
        read=partial(read, choices=choices, source=parquet_in),
        splits=True,
        chosen_by=format_of,
        choices=("label", "splits", "size", "crop"),
        passed_over=partial(passed_over, endings=PARQUET),
    )


def files(path: Path, *, source: Source) -> Sequence[Path]:
    """Return the files at `path`, sorted by name."""
    return [Path(member.path) for member in source(path)]


def outline(path: Path, *, choices: Choices, source: Source) -> Outline:
    """Return the outline, from the columns of labels and splits, the first image and the headers of all others."""
    found = _shards(path, choices, source)
    labels: dict[Split, list[int]] = {"train": [], "test": []}
    told = _splits(path, found, choices)
    if choices.splits != NONE:
        _check_said(path, found, told, source)
    for shard, splits in zip(found, told.rows, strict=True):
        for split, label in zip(splits, labels_of(shard.file, shard.label), strict=True):
            labels[split].append(label)
    num_classes = classes_of(labels["train"], labels["test"], path)
    shape = _checked_shape(path, found, choices)
    names = agreed_names(path, [class_names(shard.form, shard.label) for shard in found])
    return Outline(
        shape=shape,
        num_classes=num_classes,
        num_train=len(labels["train"]),
        num_test=len(labels["test"]),
        classes=names[:num_classes] if len(names) >= num_classes else (),
        labels=(pack(labels["train"]), pack(labels["test"])),
        pooled=told.pooled,
        newly_split=told.newly,
    )


def read(path: Path, split: Split, rows: Rows, *, choices: Choices, source: Source) -> Iterator[Batch]:
    """Yield `rows` of `split`; only images that are asked for are decoded."""
    import numpy as np

    found, first = _shards(path, choices, source), 0
    shape = _shape(found, choices)
    for shard, splits in zip(found, _splits(path, found, choices).rows, strict=True):
        ours = np.array([own == split for own in splits])
        numbers = np.where(ours, np.cumsum(ours) - 1 + first, -1)
        first += int(ours.sum())
        wanted = np.isin(numbers, rows)
        start = 0
        for batch in shard.form.iter_batches(batch_size=rows_at_once(shape), columns=[shard.image, shard.label]):
            chosen = np.flatnonzero(wanted[start : start + len(batch)])
            if len(chosen):
                part = batch.take(chosen)
                images = _pixels(part[shard.image], shard.file, start + chosen, (shape, choices))
                yield Batch(images, part[shard.label].to_numpy(zero_copy_only=False).astype(np.int64))
            start += len(batch)


def _shards(path: Path, choices: Choices, source: Source) -> list[Shard]:
    """Open the files at `path`, and return those that have rows."""
    found = [_shard(member, choices) for member in source(path)]
    full = [shard for shard in found if shard.rows]
    if not full:
        raise ConfigError(f"{path} has no rows")
    return full


def _shard(member: Member, choices: Choices) -> Shard:
    file = Path(member.path)
    form = opened(file)
    rows, names = int(form.metadata.num_rows), form.schema_arrow.names
    image = next((name for name in IMAGE if name in names), IMAGE[0])
    if len({*IMAGE} & {*names}) > 1:
        raise ConfigError(
            f"{file} has the columns {' and '.join(IMAGE)}, and either could hold the images: keep only one of them"
        )
    label = label_column(file, names, whole_numbers(form), choices) if image in names and rows else "label"
    return Shard(file, opened(file, image, label) if rows else form, image, label, rows, member)


def _splits(path: Path, found: Sequence[Shard], choices: Choices) -> Splits:
    members = [shard.member for shard in found]
    columns = [split_column(shard.file) for shard in found]
    return splits_of(path, members, columns, [shard.rows for shard in found], choices)


def _check_said(path: Path, found: Sequence[Shard], splits: Splits, source: Source) -> None:
    """Raise ConfigError if a column that is not used, or the name of a file without rows, says another split."""
    held = {shard.member for shard in found}
    said = [
        Said(shard.member, own, told_by(shard.file, shard.form, (shard.image, shard.label)))
        for shard, own in zip(found, splits.rows, strict=True)
    ]
    check_said(path, [*said, *(Said(member, [], {}) for member in source(path) if member not in held)])


def _checked_shape(path: Path, found: Sequence[Shard], choices: Choices) -> tuple[int, int, int]:
    """Return the shape of the set. Raises ConfigError with all images that cannot be read, or have another shape."""
    if choices.size:
        _check_encoded(found)
    return checked_by(lambda shape: _check_headers(path, found, shape), lambda: _shape(found, choices), choices)


def _check_encoded(found: Sequence[Shard]) -> None:
    """Raise ConfigError if a file holds lists of pixels, which are not resized."""
    import pyarrow as pa

    for shard in found:
        if pa.types.is_fixed_size_list(shard.form.schema_arrow.field(shard.image).type):
            raise ConfigError(
                f"{shard.file} holds lists of pixels, and [size=...] resizes PNG and JPEG only; leave it out, or "
                "encode the images"
            )


def _check_headers(path: Path, found: Sequence[Shard], shape: tuple[int, int, int] | None) -> None:
    """Raise ConfigError if the headers of encoded images show another shape than `shape` (c, h, w)."""

    def pictures(odd: tuple[int, int, int] | None = None) -> Iterator[Picture]:
        return (picture for shard in found for picture in _pictures(shard, odd))

    refuse(path, [*problems(pictures(shape), shape)], sum(shard.rows for shard in found), shape, pictures)


def _pictures(shard: Shard, odd: tuple[int, int, int] | None) -> Iterator[Picture]:
    """Yield the encoded images of a file; if `odd` is a shape, leave out PNG images whose header shows that shape."""
    import numpy as np
    import pyarrow as pa

    if pa.types.is_fixed_size_list(shard.form.schema_arrow.field(shard.image).type):
        return
    start = 0
    for column in _columns(shard):
        encoded = _binary(column, shard.file)
        for row in np.flatnonzero(~plain_pngs(encoded, odd)).tolist() if odd else range(len(encoded)):
            data = encoded[row].as_py()
            yield Picture(f"row {start + row} of {shard.file.name}", data, header_of(data))
        start += len(column)


def _columns(shard: Shard) -> Iterator[Any]:
    """Yield the column of images in pieces."""
    import pyarrow as pa

    try:
        for batch in shard.form.iter_batches(batch_size=BATCH_ROWS, columns=[shard.image]):
            yield batch[shard.image]
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{shard.file} is damaged: {error}") from error


def _shape(found: Sequence[Shard], choices: Choices) -> tuple[int, int, int]:
    import pyarrow as pa

    if choices.size:
        return sized_shape((picture for shard in found for picture in _pictures(shard, None)), choices)
    shard = found[0]
    file, kind = shard.file, shard.form.schema_arrow.field(shard.image).type
    if pa.types.is_fixed_size_list(kind):
        try:
            about = json.loads((shard.form.schema_arrow.metadata or {}).get(b"nrf_ray", b"{}"))
            shape = tuple(int(size) for size in about.get("shape") or _square(kind.list_size, file))
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ConfigError(f"{file} does not give the shape of its images in its metadata: {error}") from error
        if len(shape) != 3 or min(shape) < 1 or math.prod(shape) != kind.list_size:
            raise ConfigError(f"{file} says that its images are {shape}, but they have {kind.list_size} values")
        return shape
    first = next(_columns(shard))[:1]
    return picture_shape(_encoded(first, file)[0], f"row 0 of {file}")


def _square(size: int, file: Path) -> tuple[int, int, int]:
    for channels in (3, 1):
        side = math.isqrt(size // channels)
        if channels * side * side == size:
            return (channels, side, side)
    raise ConfigError(f"{file} has images of {size} values, which is not a square of three channels or one")


def _binary(column: Any, file: Path) -> Any:
    """Return the images of `column` as an array of PNG or JPEG bytes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        column = pc.struct_field(column, "bytes")
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        raise ConfigError(
            f"{file} has images of type {column.type}; they must be PNG or JPEG bytes, a struct of bytes and path, "
            "or a fixed-size list of uint8 or floats"
        )
    if column.null_count:
        raise ConfigError(f"{file} has {column.null_count} rows without the bytes of an image")
    return column


def _encoded(column: Any, file: Path) -> list[bytes]:
    return list(_binary(column, file).to_pylist())


def _pixels(column: Any, file: Path, rows: Rows, form: tuple[tuple[int, int, int], Choices]) -> "npt.NDArray[np.uint8]":
    import numpy as np
    import pyarrow as pa

    shape, choices = form
    if not pa.types.is_fixed_size_list(column.type):
        encoded = zip(rows, _encoded(column, file), strict=True)
        return np.stack([decode_as(data, f"row {row} of {file}", shape, choices) for row, data in encoded])
    flat = column.flatten()
    if column.null_count or flat.null_count:
        raise ConfigError(f"{file} has rows without an image")
    return as_levels(flat.to_numpy(), str(file)).reshape(-1, *shape)


def as_levels(values: "npt.NDArray[Any]", where: str) -> "npt.NDArray[np.uint8]":
    """Return pixels as uint8; floats in [0, 1] are rounded to the nearest of 256 levels."""
    import numpy as np

    check_pixels(values, where)
    return values if values.dtype == np.uint8 else np.rint(values.astype(np.float64) * 255).astype(np.uint8)


def check_pixels(values: "npt.NDArray[Any]", where: str) -> None:
    """Raise ConfigError unless `values` are uint8, or floats in [0, 1]."""
    import numpy as np

    if values.dtype == np.uint8:
        return
    if not np.issubdtype(values.dtype, np.floating):
        raise ConfigError(f"{where} has pixels of type {values.dtype}; they must be uint8, or floats in [0, 1]")
    if len(values) and not (values.min() >= 0 and values.max() <= 1):
        raise ConfigError(f"{where} has pixels from {values.min()} to {values.max()}; floats must be in [0, 1]")
