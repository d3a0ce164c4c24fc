"""A few texts of a constructed set in readable form, beside their originals.

A set whose words were replaced stores both as text. A set of perturbed vectors stores no text: for it, the word nearest
to each vector is shown.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nrf_ray.constructions.construct_spec import TEXTS
from nrf_ray.data.catalogue import DatasetRef
from nrf_ray.data.words import LEVELS, WordTable
from nrf_ray.graph.canonical import Key
from nrf_ray.page.gallery_rows import arrow, as_floats, constructed_of, originals_of, rows_shown, start_of
from nrf_ray.page.snapshot import Passage, Reading, Start

if TYPE_CHECKING:
    import pyarrow as pa

    from nrf_ray.page.gallery_rows import Floats

WordsOf = Callable[[DatasetRef], WordTable]
"""Function `words_of`, or one with its results cached."""


def is_written(shard: "pa.Table") -> bool:
    """Return whether a shard stores its texts in readable form."""
    return set(TEXTS) <= set(shard.column_names)


def written(shard: "pa.Table", *, title: str, key: Key) -> Reading:
    """Return texts of a shard that stores them (`is_written`), of the set `title` with key `key`."""
    rows = rows_shown(shard)
    constructed, originals = (shard[name].take(rows).to_pylist() for name in TEXTS)
    return _reading(shard, rows, constructed, originals, title=title, key=key, nearest=False)


def by_nearest_words(
    shard: "pa.Table", ref: DatasetRef, split: str, words_of: WordsOf, *, title: str, key: Key
) -> Reading:
    """Return texts of a shard of vectors, made from a `split` of `ref`, as the words nearest to the vectors."""
    rows, words = rows_shown(shard), words_of(ref)
    before = as_floats(originals_of(ref, split)[shard["index"].take(rows).to_numpy()])
    constructed, originals = (_texts(vectors, words) for vectors in (constructed_of(shard, rows), before))
    return _reading(shard, rows, constructed, originals, title=title, key=key, nearest=True)


def to_json(reading: Reading) -> dict[str, Any]:
    """Return a reading without its key, as JSON for storage."""
    passages = [[passage.label, passage.original, passage.constructed] for passage in reading.passages]
    return {"title": reading.title, "start": reading.start, "nearest": reading.nearest, "passages": passages}


def is_outdated(value: Mapping[str, Any]) -> bool:
    """Return whether `value` is a stored reading without the kind of start of its texts."""
    return "passages" in value and _start_kept(value) is None


def from_json(key: Key, value: Mapping[str, Any]) -> Reading:
    """Return the reading that `to_json`, of this or an older version, stored as `value`, which is not outdated."""
    passages = tuple(Passage(label=label, original=old, constructed=new) for label, old, new in value["passages"])
    start = _start_kept(value)
    assert start is not None
    return Reading(title=value["title"], key=key, start=start, nearest=value["nearest"], passages=passages)


def _start_kept(value: Mapping[str, Any]) -> Start | None:
    """Return the start in `value`, or None. The older field `matched` does not distinguish noise from another text."""
    if value.get("matched") is False:
        return Start.ITSELF
    return next((start for start in Start if start == value.get("start")), None)


def _reading(
    shard: "pa.Table",
    rows: list[int],
    constructed: Sequence[str],
    originals: Sequence[str],
    *,
    title: str,
    key: Key,
    nearest: bool,
) -> Reading:
    labels = (shard[name].take(rows).to_pylist() for name in ("true_label", "label"))
    passages = tuple(
        Passage(label=arrow(true, target), original=original, constructed=text)
        for true, target, original, text in zip(*labels, originals, constructed, strict=True)
    )
    return Reading(title=title, key=key, start=start_of(shard, rows), nearest=nearest, passages=passages)


def words_of(ref: DatasetRef) -> WordTable:
    """Return the word table of a dataset of texts; if possible without torch."""
    if ref.location:
        from nrf_ray.data.prepared import prepared_words
        from nrf_ray.data.pushed import located_of

        return prepared_words(located_of(ref.location, ref.digest))
    from nrf_ray.data.load import word_table

    return word_table(ref)


def _texts(vectors: "Floats", words: WordTable) -> list[str]:
    import numpy as np

    return words.texts_of(np.rint(vectors * LEVELS).astype(np.uint8))
