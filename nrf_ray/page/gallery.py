"""A few examples of each constructed set, images or texts, beside their originals.

They are read when a set is finished and stored in `gallery.json` beside the tables, from which the page can be made
again. If possible, the examples are of different classes and differ from their starts.
"""

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from nrf_ray.data.catalogue import info_of
from nrf_ray.errors import CorruptArtifact, MissingArtifact
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.stage import Stage
from nrf_ray.graph.store import Place, Store
from nrf_ray.page import image_gallery, text_gallery
from nrf_ray.page.snapshot import Gallery, Reading

if TYPE_CHECKING:
    import pyarrow as pa

MOST_GALLERIES = 24
MOST_BYTES = 1_500_000
"""Maximum size of all examples together: the page has to load at once."""

Shown = Gallery | Reading
"""Images or texts of one set."""


def gallery_name(sweep: str) -> str:
    """Return the blob name of the galleries of a sweep."""
    return f"sweeps/{sweep}/gallery.json"


def chosen_sets(stages: Iterable[Stage]) -> list[Stage]:
    """Return the sets to show: of several sets that differ only in their seed, the first."""
    sets: dict[str, Stage] = {}
    for stage in stages:
        if stage.kind.name == "construct":
            sets.setdefault(re.sub(r", seed \d+", "", stage.title), stage)
    return list(sets.values())[:MOST_GALLERIES]


def kept_galleries(store: Store, sweep: str, keys: Iterable[Key]) -> list[Shown]:
    """Return the galleries of the sets `keys` that are stored and not outdated."""
    kept = store.blobs.get_json(gallery_name(sweep)) or {}
    return [_from_json(key, kept[key]) for key in keys if key in kept and not text_gallery.is_outdated(kept[key])]


def update_galleries(store: Store, sweep: str, sets: Iterable[Stage]) -> list[Shown]:
    """Return the galleries of the committed `sets`; make and store those that are missing.

    If a set cannot be read, raises CorruptArtifact or MissingArtifact after storing the galleries of the others.
    """
    sets = list(sets)
    kept = {shown.key: shown for shown in kept_galleries(store, sweep, [stage.key for stage in sets])}
    missing = [stage for stage in sets if stage.key not in kept]
    room = MOST_BYTES - sum(map(_size, kept.values()))
    damaged = None
    words_of = cache(text_gallery.words_of)  # a table of many words, nearly always of the same dataset
    for stage in missing:
        try:
            shown = _gallery_of(stage, store, words_of)
        except (CorruptArtifact, MissingArtifact) as error:
            damaged = damaged or error
            continue
        room -= _size(shown)
        if room < 0:
            break
        kept[stage.key] = shown
    if missing:
        text = json.dumps({key: _to_json(shown) for key, shown in kept.items()})
        store.blobs.replace(gallery_name(sweep), text.encode())
    if damaged is not None:
        raise damaged
    return [kept[stage.key] for stage in sets if stage.key in kept]


def first_shard(store: Store, key: Key) -> "pa.Table":
    """Return the first shard of the constructed set with key `key`, verified, without importing torch or Ray.

    Raises MissingArtifact or CorruptArtifact if it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    record = store.record(Place("construct", key))
    if record is None:
        raise MissingArtifact(f"the set {key[:12]} is no longer in the store {store.uri}")
    return pq.read_table(pa.BufferReader(store.read(record, record.files[0].name)))


def _gallery_of(stage: Stage, store: Store, words_of: text_gallery.WordsOf) -> Shown:
    """Return examples of the first shard of a committed set."""
    shard = first_shard(store, stage.key)
    ref, split = stage.config.dataset, stage.config.split
    if info_of(ref).kind == "images":
        return image_gallery.gallery_of(shard, ref, split, title=stage.title, key=stage.key)
    if text_gallery.is_written(shard):
        return text_gallery.written(shard, title=stage.title, key=stage.key)
    return text_gallery.by_nearest_words(shard, ref, split, words_of, title=stage.title, key=stage.key)


def _size(shown: Shown) -> int:
    if isinstance(shown, Reading):
        return sum(len(passage.original) + len(passage.constructed) for passage in shown.passages)
    return sum(len(image or b"") for s in shown.specimens for image in (s.original, s.constructed, s.change))


def _to_json(shown: Shown) -> dict[str, Any]:
    return text_gallery.to_json(shown) if isinstance(shown, Reading) else image_gallery.to_json(shown)


def _from_json(key: Key, value: Mapping[str, Any]) -> Shown:
    return text_gallery.from_json(key, value) if "passages" in value else image_gallery.from_json(key, value)
