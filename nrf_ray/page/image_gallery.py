"""A few images of a constructed set as small PNG files, beside their originals."""

import base64
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nrf_ray.data.catalogue import DatasetRef
from nrf_ray.graph.canonical import Key
from nrf_ray.page.gallery_rows import arrow, as_floats, constructed_of, originals_of, rows_shown, start_of
from nrf_ray.page.snapshot import Gallery, Specimen, Start

if TYPE_CHECKING:
    import pyarrow as pa

    from nrf_ray.page.gallery_rows import Floats

MOST_PIXELS = 64
"""Maximum width and height of a shown image; larger images are scaled down."""
FACTORS = (50.0, 20.0, 10.0, 5.0, 4.0, 3.0, 2.0, 1.0)


def gallery_of(shard: "pa.Table", ref: DatasetRef, split: str, *, title: str, key: Key) -> Gallery:
    """Return images of a shard of the set `title` with key `key`, made from a `split` of the dataset `ref`."""
    import numpy as np

    rows = rows_shown(shard)
    columns = {name: shard[name].take(rows).to_numpy() for name in ("index", "start", "label", "true_label")}
    made, images = constructed_of(shard, rows), originals_of(ref, split)
    originals, start = as_floats(images[columns["index"]]), start_of(shard, rows)
    changes = None if start is Start.NOISE else made - as_floats(images[columns["start"]])
    factor = 0.0 if changes is None else _factor(float(np.abs(changes).max()))
    specimens = tuple(
        Specimen(
            label=arrow(int(columns["true_label"][i]), int(columns["label"][i])),
            original=_png(originals[i]),
            constructed=_png(made[i]),
            change=None if changes is None else _png(0.5 + factor * changes[i]),
        )
        for i in range(len(rows))
    )
    first = "original" if start is Start.ITSELF else "image whose features it has"
    return Gallery(title=title, key=key, first=first, factor=factor, specimens=specimens)


def to_json(gallery: Gallery) -> dict[str, Any]:
    """Return a gallery without its key, as JSON for storage."""
    specimens = [
        {
            "label": specimen.label,
            "original": base64.b64encode(specimen.original).decode(),
            "constructed": base64.b64encode(specimen.constructed).decode(),
            "change": None if specimen.change is None else base64.b64encode(specimen.change).decode(),
        }
        for specimen in gallery.specimens
    ]
    return {"title": gallery.title, "first": gallery.first, "factor": gallery.factor, "specimens": specimens}


def from_json(key: Key, value: Mapping[str, Any]) -> Gallery:
    """Return the gallery that `to_json` stored as `value`."""
    specimens = tuple(
        Specimen(
            label=part["label"],
            original=base64.b64decode(part["original"]),
            constructed=base64.b64decode(part["constructed"]),
            change=None if part["change"] is None else base64.b64decode(part["change"]),
        )
        for part in value["specimens"]
    )
    return Gallery(title=value["title"], key=key, first=value["first"], factor=value["factor"], specimens=specimens)


def _factor(largest: float) -> float:
    """Return the factor by which a change of at most `largest` can be magnified without leaving the range of grey."""
    return next((factor for factor in FACTORS if factor * largest <= 0.5), 1.0)


def _png(image: "Floats") -> bytes:
    """Return an image [c, h, w] in [0, 1] as PNG, scaled down if it is large."""
    import numpy as np
    from PIL import Image

    levels = (np.clip(image, 0, 1) * 255).round().astype(np.uint8)
    picture = Image.fromarray(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0))
    picture.thumbnail((MOST_PIXELS, MOST_PIXELS))
    out = io.BytesIO()
    picture.save(out, format="PNG", optimize=True)
    return out.getvalue()
