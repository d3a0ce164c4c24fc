"""Constructed texts to read: original and constructed side by side, the words that differ marked and named.

Rows are chosen as on the report's page: changed ones first, of as many classes as there are. What is shown is the
page's own HTML, which needs no style to be read: struck out is what went, underlined what came. Of vectors it is the
nearest words, which the sweep wrote down for its page; finding them takes the dataset.
"""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from IPython.display import HTML

from nrf_ray.evidence import set_text
from nrf_ray.graph.store import Place, Store
from nrf_ray.grille import ball_text
from nrf_ray.page.gallery import kept_galleries
from nrf_ray.page.html import Html, el
from nrf_ray.page.passages import is_written, written
from nrf_ray.page.snapshot import Reading
from nrf_ray.page.texts import reading

EMPTY = "There is no set of texts to show; see above which command makes one."


def one_each(datasets: pd.DataFrame) -> pd.DataFrame:
    """Return one row of `datasets` for each construction and norm: largest radius, first seed."""
    ordered = datasets.sort_values(["epsilon", "seed"], ascending=[False, True], kind="stable")
    return ordered.drop_duplicates(["construction", "norm"]).sort_index().reset_index(drop=True)


def side_by_side(store: Store, made: pd.DataFrame) -> HTML:
    """Return texts of every set of `made` (`one_each`), each beside the one that it was made of."""
    found = [_of_set(store, row) for row in made.to_dict("records")]
    shown = [part for part in found if part is not None]
    return HTML(el("div", *(shown or [el("p", EMPTY)])))  # type: ignore[no-untyped-call]


def _of_set(store: Store, made: Mapping[Hashable, Any]) -> Html | None:
    """Return the texts of one set; None, and a line that says why, where they cannot be shown."""
    title = f"{set_text(made)} {ball_text(made['norm'], made['epsilon'])}".strip()
    place = Place("construct", made["key"])
    record = store.peek(place)
    if record is None:
        print(f"The texts of {title} are no longer in the store; run its sweep again.")
        return None
    data = store.blobs.get(place.file(record.files[0].blob))
    shard = pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
    if is_written(shard):
        return reading(written(shard, title=title, key=made["key"]))
    kept = [shown for shown in kept_galleries(store, made["sweep"], [made["key"]]) if isinstance(shown, Reading)]
    if not kept:
        print(f"{title} has vectors and no texts, and its sweep has not written the words that are nearest to them.")
        return None
    return reading(kept[0])
