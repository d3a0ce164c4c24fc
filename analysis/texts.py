"""Constructed texts to read: original and constructed side by side, the words that differ marked and named.

Rows are read and chosen as on the report's page: changed ones first, of as many classes as there are. What is shown is
the page's own HTML, which needs no style to be read: struck out is what went, underlined what came. Of vectors it is
the nearest words, which the sweep wrote down for its page; finding them takes the dataset.
"""

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
from IPython.display import HTML

import tables
import views
from nrf_ray.errors import NrfError
from nrf_ray.graph.store import Store
from nrf_ray.page.gallery import first_shard, kept_galleries
from nrf_ray.page.html import Html, el
from nrf_ray.page.snapshot import Reading
from nrf_ray.page.text_gallery import is_written, written
from nrf_ray.page.texts import reading
from nrf_ray.sweep.wording import ORIGIN

EMPTY = "There is no set of texts to show; see above which command makes one."


KIND = [name for name in ORIGIN if name != "epsilon"]
"""What two sets differ in that are both shown."""


def one_each(datasets: pd.DataFrame) -> pd.DataFrame:
    """Return one row of `datasets` for each way of making a set (`KIND`): largest radius, first seed."""
    return tables.labelled(views.one_each(datasets, KIND))


def side_by_side(store: Store, made: pd.DataFrame) -> HTML:
    """Return texts of every set of `made` (`one_each`), each beside the one that it was made of."""
    found = [_of_set(store, row) for row in made.to_dict("records")]
    shown = [part for part in found if part is not None]
    return HTML(el("div", *(shown or [el("p", EMPTY)])))  # type: ignore[no-untyped-call]


def _of_set(store: Store, made: Mapping[Hashable, Any]) -> Html | None:
    """Return the texts of one set; None, and a line that says why, where they cannot be shown."""
    title, key = made["label"], made["key"]
    try:
        shard = first_shard(store, key)
    except NrfError as error:
        print(f"The texts of {title} cannot be read; run its sweep again: {error}")
        return None
    if is_written(shard):
        return reading(written(shard, title=title, key=key))
    kept = [shown for shown in kept_galleries(store, made["sweep"], [key]) if isinstance(shown, Reading)]
    if not kept:
        print(f"{title} has vectors and no texts, and the words nearest to them are not kept; run its sweep again.")
        return None
    return reading(replace(kept[0], title=title))
