"""Export of a constructed set in formats for other software.

- tensors: the format in which the paper's sets were released, `CIFAR_ims` and `CIFAR_lab`: lists of one tensor each,
  images as float32 in [0, 1], so that `torch.cat(torch.load(...))` and the authors' own loader read them.
- folder: PNG, one folder per new label; a file is named after the column `index`.
- hf: parquet for `datasets.load_dataset`, with images as PNG and all columns of the set. A set stored as float32 has
  lists of pixels instead, channels first, and their shape in the metadata.

Every export includes a datasheet and, on request, Croissant metadata.

The command line reads tensors and hf again as `tensors:DEST@TEST` and `parquet:DEST`, rounded to 8 bits as all images
that it reads.
"""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nrf_ray.errors import ConfigError, lookup
from nrf_ray.export.about import about_set
from nrf_ray.export.croissant import write_croissant
from nrf_ray.export.datasheet import datasheet
from nrf_ray.export.fresh import new_folder
from nrf_ray.graph.record import Record
from nrf_ray.graph.store import Store

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

    from nrf_ray.data.shards import Shard


def export_set(store: Store, record: Record, destination: Path, form: str, *, croissant: bool = False) -> int:
    """Write the constructed set of `record` to the new folder `destination`; return the number of its images.

    The folder also gets `datasheet.md` and, with `croissant`, `croissant.json`. It gets its final name when it is
    complete. Raises ConfigError if the artifact is not a constructed set, the format is unknown or `destination`
    exists.
    """
    write = lookup(FORMS, form, "export format")
    if record.stage != "construct":
        raise ConfigError(
            f"{record.key[:12]} is a {record.stage}, not a constructed set; give the key of a construct stage"
        )
    with new_folder(destination) as folder:
        rows = _rows(store, record)
        about = about_set(store, record, rows)
        write(rows, folder)
        if croissant:
            write_croissant(about, folder, form)
        (folder / "datasheet.md").write_text(datasheet(about), encoding="utf-8")
    return len(rows.images)


def _rows(store: Store, record: Record) -> "Shard":
    from nrf_ray.data.shards import concatenate, read_shard

    return concatenate([read_shard(store.read(record, entry.name)) for entry in record.files])


def write_tensors(rows: "Shard", folder: Path) -> None:
    """Write `CIFAR_ims` and `CIFAR_lab`."""
    import torch

    from nrf_ray.data.images import as_float

    torch.save([as_float(rows.images)], folder / "CIFAR_ims")
    torch.save([rows.columns["label"]], folder / "CIFAR_lab")


def write_folder(rows: "Shard", folder: Path) -> None:
    """Write one PNG per image, in one folder per label; names have leading zeros, so they sort like the labels.

    Raises ConfigError for a set that is stored as float32.
    """
    if rows.images.is_floating_point():
        raise ConfigError("the set is stored as float32, but PNG has 8 bits; use --format tensors or hf")
    labels, sources = rows.columns["label"].tolist(), rows.columns["index"].tolist()
    digits = len(str(max(labels)))
    for image, label, source in zip(rows.images, labels, sources, strict=True):
        place = folder / f"{label:0{digits}d}"
        place.mkdir(exist_ok=True)
        (place / f"{source:08d}.png").write_bytes(_png(image))


def write_hf(rows: "Shard", folder: Path) -> None:
    """Write `train.parquet`, whose metadata declares the column `image` to Hugging Face's datasets."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # from_pandas: a value that does not apply becomes null instead of NaN, which filters treat inconsistently.
    columns = {name: pa.array(values.numpy(), from_pandas=True) for name, values in rows.columns.items()}
    columns |= {name: pa.array(values, pa.string()) for name, values in rows.texts.items()}
    image, feature = _lists(rows) if rows.images.is_floating_point() else _pictures(rows)
    table = pa.table({"image": image, **columns})
    features = {
        "image": feature,
        **{name: {"dtype": _dtype(table.schema.field(name).type), "_type": "Value"} for name in columns},
    }
    metadata = {
        "huggingface": json.dumps({"info": {"features": features}}),
        "nrf_ray": json.dumps({"shape": list(rows.images.shape[1:])}),
    }
    pq.write_table(table.replace_schema_metadata(metadata), folder / "train.parquet", row_group_size=1024)


def _pictures(rows: "Shard") -> tuple["pa.Array", dict[str, Any]]:
    """Return uint8 images as a column of PNG, and its feature in Hugging Face's datasets."""
    import pyarrow as pa

    names = [f"{source:08d}.png" for source in rows.columns["index"].tolist()]
    images = [{"bytes": _png(image), "path": name} for image, name in zip(rows.images, names, strict=True)]
    return pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())])), {"_type": "Image"}


def _lists(rows: "Shard") -> tuple["pa.Array", dict[str, Any]]:
    """Return float32 images as a column of lists of pixels, and its feature in Hugging Face's datasets."""
    import pyarrow as pa

    flat = rows.images.contiguous().flatten(1)
    pixels = pa.FixedSizeListArray.from_arrays(pa.array(flat.numpy().ravel()), flat.shape[1])
    feature = {"_type": "Sequence", "length": flat.shape[1], "feature": {"_type": "Value", "dtype": "float32"}}
    return pixels, feature


def _dtype(kind: object) -> str:
    """Return the name of an arrow type in Hugging Face's datasets."""
    return {"float": "float32", "double": "float64"}.get(str(kind), str(kind))


def _png(image: "Tensor") -> bytes:
    from PIL import Image

    array = image.numpy()
    out = io.BytesIO()
    Image.fromarray(array[0] if len(array) == 1 else array.transpose(1, 2, 0)).save(out, "PNG")
    return out.getvalue()


FORMS: dict[str, Callable[["Shard", Path], None]] = {"tensors": write_tensors, "folder": write_folder, "hf": write_hf}
"""Writers by format, the values of `nrf export --format`."""
