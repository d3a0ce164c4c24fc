"""A few images of each constructed set, beside what they were made from.

Images are read when a set is finished, and kept as small PNG files in `gallery.json` beside the tables; whoever makes
the page again reads that. Where the classes allow it the images are of different classes, and each has been changed.
"""

import base64
import io
import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from nrf_ray.data.catalogue import DATASETS, DatasetRef, info_of
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import Store
from nrf_ray.page.snapshot import Gallery, Specimen

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

MOST_GALLERIES = 24
SPECIMENS = 8
"""Images of one set."""
MOST_PIXELS = 64
"""Width and height of what is shown; larger images are made smaller."""
MOST_BYTES = 1_500_000
"""Of all images together: a page has to load at once."""
FACTORS = (50.0, 20.0, 10.0, 5.0, 4.0, 3.0, 2.0, 1.0)


def gallery_name(sweep: str) -> str:
    """Return the blob name of the galleries of a sweep."""
    return f"sweeps/{sweep}/gallery.json"


def chosen_sets(stages: Iterable[Stage]) -> list[Stage]:
    """Return the sets that are shown: of those that differ in their seed alone, the first."""
    sets: dict[str, Stage] = {}
    for stage in stages:
        if stage.kind.name == "construct" and info_of(stage.config.dataset).kind == "images":
            sets.setdefault(re.sub(r", seed \d+", "", stage.title), stage)
    return list(sets.values())[:MOST_GALLERIES]


def kept_galleries(store: Store, sweep: str, keys: Iterable[Key]) -> list[Gallery]:
    """Return the galleries of the sets `keys` that are kept in the store."""
    kept = store.blobs.get_json(gallery_name(sweep)) or {}
    return [_from_json(key, kept[key]) for key in keys if key in kept]


def update_galleries(store: Store, sweep: str, sets: Iterable[Stage]) -> list[Gallery]:
    """Return the galleries of `sets`, which are committed; make those that are not kept yet, and keep them."""
    sets = list(sets)
    kept = {gallery.key: gallery for gallery in kept_galleries(store, sweep, [stage.key for stage in sets])}
    missing = [stage for stage in sets if stage.key not in kept]
    room = MOST_BYTES - sum(map(_size, kept.values()))
    for stage in missing:
        gallery = _gallery_of(stage, store)
        room -= _size(gallery)
        if room < 0:
            break
        kept[stage.key] = gallery
    if missing:
        text = json.dumps({key: _to_json(gallery) for key, gallery in kept.items()})
        store.blobs.replace(gallery_name(sweep), text.encode())
    return [kept[stage.key] for stage in sets if stage.key in kept]


def _gallery_of(stage: Stage, store: Store) -> Gallery:
    """Return images of the first shard of a committed set."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(store.artifact(stage).read("part-00000.parquet")))
    meta = json.loads(table.schema.metadata[b"nrf_ray"])
    columns = {name: table[name].to_numpy() for name in ("index", "start", "label", "true_label", "moved")}
    rows = _pick(columns["true_label"], columns["moved"])
    pixels = table["image"].take(rows).combine_chunks().flatten().to_numpy(zero_copy_only=False)
    made = pixels.reshape(-1, *meta["shape"]).astype(np.float32) / meta["scale"]
    images = _originals(stage.config.dataset, stage.config.split)
    originals, starts = _as_floats(images, columns["index"][rows]), columns["start"][rows]
    from_noise, matched = bool((starts < 0).any()), bool((starts != columns["index"][rows]).any())
    changes = None if from_noise else made - _as_floats(images, starts)
    factor = 0.0 if changes is None else _factor(float(np.abs(changes).max()))
    specimens = tuple(
        Specimen(
            label=_label(int(columns["true_label"][row]), int(columns["label"][row])),
            original=_png(originals[i]),
            constructed=_png(made[i]),
            change=None if changes is None else _png(0.5 + factor * changes[i]),
        )
        for i, row in enumerate(rows)
    )
    first = "image whose features it has" if matched else "original"
    return Gallery(title=stage.title, key=stage.key, first=first, factor=factor, specimens=specimens)


def _pick(labels: "npt.NDArray[np.int64]", moved: "npt.NDArray[np.float32]") -> list[int]:
    """Return the numbers of the rows that are shown: changed ones first, of as many classes as there are."""
    seen: dict[int, int] = {}
    order = sorted(range(len(labels)), key=lambda row: (not moved[row], row))
    ranked = []
    for row in order:
        label = int(labels[row])
        seen[label] = seen.get(label, 0) + 1
        ranked.append((not moved[row], seen[label], label, row))
    return [row for *_, row in sorted(ranked)[:SPECIMENS]]


def _originals(ref: DatasetRef, split: str) -> "npt.NDArray[Any]":
    """Return all images of a split, [n, c, h, w]; without torch where that can be: the driver has no use for it."""
    if ref.location:
        from nrf_ray.data.located import locate
        from nrf_ray.data.prepared import prepared

        arrays = prepared(locate(ref.location))
        return arrays.train_images if split == "train" else arrays.test_images
    if ref.name in DATASETS:
        from nrf_ray.data.digits import arrays as digits

        train, test = digits()
        return train.images if split == "train" else test.images
    from nrf_ray.data.load import test_split, train_split

    return (train_split if split == "train" else test_split)(ref).images.numpy()


def _as_floats(images: "npt.NDArray[Any]", rows: "npt.NDArray[np.int64]") -> "Floats":
    import numpy as np

    taken = images[rows]
    return (taken / np.float32(255) if taken.dtype == np.uint8 else taken).astype(np.float32)


def _factor(largest: float) -> float:
    """Return how often a change of at most `largest` can be magnified without leaving the range of grey."""
    return next((factor for factor in FACTORS if factor * largest <= 0.5), 1.0)


def _label(true: int, target: int) -> str:
    return f"{true}" if true == target else f"{true} → {target}"


def _png(image: "Floats") -> bytes:
    """Return an image [c, h, w] in [0, 1] as PNG, made smaller where it is large."""
    import numpy as np
    from PIL import Image

    levels = (np.clip(image, 0, 1) * 255).round().astype(np.uint8)
    picture = Image.fromarray(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0))
    picture.thumbnail((MOST_PIXELS, MOST_PIXELS))
    out = io.BytesIO()
    picture.save(out, format="PNG", optimize=True)
    return out.getvalue()


def _size(gallery: Gallery) -> int:
    return sum(len(image or b"") for s in gallery.specimens for image in (s.original, s.constructed, s.change))


def _to_json(gallery: Gallery) -> dict[str, Any]:
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


def _from_json(key: Key, value: Mapping[str, Any]) -> Gallery:
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
