"""Croissant metadata of an exported set: its files and columns, for programs that load data from this description.

Written by mlcroissant, the format's own library, in version 1.0 of the format. Croissant cannot describe how to read
files that torch wrote, so for the form `tensors` the metadata list the files without their columns.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nrf_ray.export.about import COLUMNS, PAPER, READABLE, AboutSet
from nrf_ray.export.fresh import needed

if TYPE_CHECKING:
    import mlcroissant as mlc

FILE = "croissant.json"
LICENCE = "not known: the licence of the original images applies"
TORCH = "https://pytorch.org/docs/stable/notes/serialization.html"
"""Encoding format of torch files, which have no media type."""
WHOLE = ("index", "start", "label", "true_label", "seed", "prediction", "prediction_stored")
"""Integer columns."""


def write_croissant(about: AboutSet, folder: Path, form: str) -> None:
    """Write `croissant.json` for the set in `folder`, which has the form `form`; the library has to accept it.

    Raises ConfigError if mlcroissant is not installed.
    """
    library = needed("mlcroissant", "--croissant")
    files, records = {"tensors": _tensors, "folder": _pictures, "hf": _parquet}[form](library, about, folder)
    metadata = library.Metadata(
        name=f"{about.construction}-of-{about.dataset}-{about.record.key[:12]}",
        description=about.description,
        license=[LICENCE],
        cite_as=PAPER,
        version="1.0.0",
        date_created=datetime.fromisoformat(about.record.provenance["started"]),
        keywords=["adversarial examples", "constructed dataset", about.construction],
        distribution=files,
        record_sets=records,
    )
    (folder / FILE).write_text(json.dumps(metadata.to_json(), indent=1) + "\n")


def _parquet(library: Any, about: AboutSet, folder: Path) -> "tuple[list[mlc.FileObject], list[mlc.RecordSet]]":
    """Return the parquet file, and a field for each of its columns."""
    kinds = _kinds(library)
    image = (
        {"data_types": library.DataType.FLOAT32, "is_array": True, "array_shape": str(_length(about))}
        if about.floating
        else {"data_types": library.DataType.IMAGE_OBJECT}
    )
    what = f"the image: pixels in [0, 1] in the order of {about.shape}" if about.floating else "the image, as PNG"
    # Hugging Face's datasets keep a picture as a struct of its bytes and a path.
    parts = [] if about.floating else [library.Transform(json_path="bytes")]
    fields = [_field(library, "image", what, parts, **image)]
    fields += [_field(library, name, meaning, [], data_types=kinds[name]) for name, meaning in about.columns.items()]
    file = _file(library, folder / "train.parquet", library.EncodingFormat.PARQUET)
    return [file], [library.RecordSet(id="rows", name="rows", description="one row per image", fields=fields)]


def _field(library: Any, name: str, description: str, transforms: "list[mlc.Transform]", **kind: Any) -> "mlc.Field":
    extract = library.Extract(column=name)
    source = library.Source(file_object="train.parquet", extract=extract, transforms=transforms)
    field: mlc.Field = library.Field(id=f"rows/{name}", name=name, description=description, source=source, **kind)
    return field


def _kinds(library: Any) -> Mapping[str, Any]:
    """Return the data type of every column except the image."""
    kinds = {**dict.fromkeys(COLUMNS, library.DataType.FLOAT32), **dict.fromkeys(READABLE, library.DataType.TEXT)}
    return {**kinds, **dict.fromkeys(WHOLE, library.DataType.INT64), "moved": library.DataType.BOOL}


def _length(about: AboutSet) -> int:
    channels, height, width = about.shape
    return channels * height * width


def _pictures(library: Any, about: AboutSet, folder: Path) -> "tuple[list[Any], list[mlc.RecordSet]]":
    """Return the PNG files as one file set; the name of a file's folder is its label."""
    pictures = library.FileSet(
        id="pictures",
        name="pictures",
        description="one picture per image, in the folder of its label; its name is its row in the original split",
        includes=["*/*.png"],
        encoding_formats=[library.EncodingFormat.PNG],
    )

    def field(name: str, description: str, kind: Any, **source: Any) -> Any:
        found = library.Source(file_set="pictures", **source)
        return library.Field(id=f"rows/{name}", name=name, description=description, data_types=kind, source=found)

    content, path = (library.Extract(file_property=library.FileProperty[p]) for p in ("content", "fullpath"))
    label = library.Transform(regex=r"([0-9]+)/[0-9]+\.png$")
    fields = [
        field("image", "the image", library.DataType.IMAGE_OBJECT, extract=content),
        field("label", COLUMNS["label"], library.DataType.INT64, extract=path, transforms=[label]),
    ]
    return [pictures], [library.RecordSet(id="rows", name="rows", description="one picture per image", fields=fields)]


def _tensors(library: Any, about: AboutSet, folder: Path) -> "tuple[list[mlc.FileObject], list[mlc.RecordSet]]":
    """Return the two files, without columns."""
    return [_file(library, folder / name, TORCH) for name in ("CIFAR_ims", "CIFAR_lab")], []


def _file(library: Any, path: Path, encoding: str) -> "mlc.FileObject":
    with path.open("rb") as opened:
        content = hashlib.file_digest(opened, "sha256").hexdigest()
    file: mlc.FileObject = library.FileObject(
        id=path.name,
        name=path.name,
        content_url=path.name,
        content_size=f"{path.stat().st_size} B",
        encoding_formats=[encoding],
        sha256=content,
    )
    return file
