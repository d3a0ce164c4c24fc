"""Constructed texts for display: original and constructed side by side, the words that differ marked and listed.

Rows are read and chosen as for the report: changed rows first, of as many classes as possible. The output is the
report's own HTML, which is readable without its style sheet: removed words are struck out, new words are underlined.
For vectors, the nearest words are shown, which the sweep stored for its report; finding them takes the dataset.
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
"""Columns in which two sets differ that are both shown."""


def one_each(datasets: pd.DataFrame) -> pd.DataFrame:
    """Return one row of `datasets` for each way of making a set (`KIND`): largest radius, first seed."""
    return tables.labelled(views.one_each(datasets, KIND))


def side_by_side(store: Store, made: pd.DataFrame) -> HTML:
    """Return texts of every set of `made` (`one_each`), each beside its original."""
    found = [_of_set(store, row) for row in made.to_dict("records")]
    shown = [part for part in found if part is not None]
    return HTML(el("div", *(shown or [el("p", EMPTY)])))  # type: ignore[no-untyped-call]


def _of_set(store: Store, made: Mapping[Hashable, Any]) -> Html | None:
    """Return the texts of one set; if they cannot be shown, print why and return None."""
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
        print(f"{title} has vectors, not texts, and the words nearest to them are not stored; run its sweep again.")
        return None
    return reading(replace(kept[0], title=title))
