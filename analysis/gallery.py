"""Galleries of constructed sets: the same originals in every set, with the changes made visible, one row per class.

Images come from the sets' own parquet files, originals from the dataset. Perturbations are shown on grey; all those of
one figure are magnified by the same factor, which the figure states.
"""

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import views
from nrf_ray.constructions.spec import CONSTRUCTIONS, matched
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.load import train_split
from nrf_ray.errors import NrfError
from nrf_ray.graph.store import Place, Store
from nrf_ray.sweep.wording import ball_text
from nrf_ray.tables.contrasts import set_text
from style import COLOURS, blank, footnote, nothing, outside_legend, quiet

EMPTY = "There is no constructed set to show; see above which command makes one."

Images = npt.NDArray[np.float32]
"""Images, [n, c, h, w] in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Picked:
    """Rows picked from one constructed set."""

    construction: str
    """Its name."""
    title: str
    """Title of the set."""
    images: Images
    """Images as stored."""
    labels: list[int]
    """Labels of the images in the set."""
    starts: list[int]
    """Index of the image that each started from; -1 for noise."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The same images in several sets; without sets if nothing can be shown."""

    dataset: str
    """Dataset of the images."""
    indices: list[int]
    """Indices of the images in the training split."""
    pool: Images
    """All images of the training split, from which matched images start."""
    pool_labels: npt.NDArray[np.int64]
    """Labels of all images of the training split."""
    sets: list[Picked]
    """Rows of the images in each set."""

    @property
    def images(self) -> Images:
        """The originals."""
        return self.pool[self.indices]

    @property
    def labels(self) -> list[int]:
        """The labels of the originals."""
        return [int(label) for label in self.pool_labels[self.indices]]


def one_each(datasets: pd.DataFrame, constructions: Sequence[str]) -> pd.DataFrame:
    """Return one row of `datasets` for each construction: standard source, largest radius, from images, first seed."""
    found = datasets[datasets["construction"].isin(constructions)]
    of_robust = CONSTRUCTIONS.where(lambda made: made.source_training == "adversarial")
    found = found[(found["source_training"] != "adversarial") | found["construction"].isin(of_robust)]
    first = views.one_each(found, ["construction"]).set_index("construction")
    return first.loc[[name for name in constructions if name in first.index]].reset_index()


def same_images(store: Store, made: pd.DataFrame, classes: int = 10) -> Shown:
    """Return the first image of each of the first `classes` classes as it is in every set of `made` (`one_each`).

    Raises ValueError if `made` is of several datasets: images with the same index would have nothing in common.
    """
    nothing_there = np.zeros((0, 1, 1, 1), np.float32)
    empty = Shown(dataset="", indices=[], pool=nothing_there, pool_labels=np.zeros(0, np.int64), sets=[])
    if made.empty:
        return empty
    dataset, *others = made["dataset"].unique()
    if others:
        raise ValueError(f"these sets are of several datasets, {dataset}, {', '.join(others)}: choose one")
    try:
        split = train_split(dataset_named(dataset).ref)
    except NrfError as error:
        print(f"The originals of {dataset} are not on this machine, so nothing can be shown beside them: {error}")
        return empty
    labels = split.labels.numpy().astype(np.int64)
    indices = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)[:classes]]
    found = [pick(store, row, indices) for row in made.to_dict("records")]
    return Shown(
        dataset=dataset,
        indices=indices,
        pool=_as_float(split.images.numpy()),
        pool_labels=labels,
        sets=[picked for picked in found if picked is not None],
    )


def pick(store: Store, made: Mapping[Hashable, Any], indices: Sequence[int]) -> Picked | None:
    """Return the rows `indices` of the set that a row of `datasets` is about; None if its files are gone."""
    place = Place("construct", made["key"])
    record = store.peek(place)
    if record is None:
        print(f"The images of {made['construction']} are no longer in the store; run its sweep again.")
        return None
    parts: list[pa.Table] = []
    for entry in record.files:
        if sum(map(len, parts)) < len(indices):
            data = pa.BufferReader(store.blobs.get(place.file(entry.blob)))
            table = pq.read_table(data, page_checksum_verification=True)
            parts.append(table.filter(pc.is_in(table["index"], value_set=pa.array(indices))))
    found = pa.concat_tables(parts)
    rows = found.take([found["index"].to_pylist().index(index) for index in indices])
    shape = json.loads(rows.schema.metadata[b"nrf_ray"])["shape"]
    return Picked(
        construction=made["construction"],
        title=_title(made),
        images=_as_float(np.asarray(rows["image"].combine_chunks().flatten()).reshape(-1, *shape)),
        labels=rows["label"].to_pylist(),
        starts=rows["start"].to_pylist(),
    )


def sets_side_by_side(shown: Shown, *, title: str, note: str) -> Figure:
    """Draw originals with their labels, and beside each its image in every set with its label there."""
    columns = [("original", shown.images, shown.labels), *((s.title, s.images, s.labels) for s in shown.sets)]
    return _columns(columns, title, note) if shown.sets else nothing(EMPTY)


def perturbations(shown: Shown, *, title: str, note: str) -> Figure:
    """Draw what attacks and patterns added to each original, magnified so that the largest change just fits."""
    sets = [made for made in shown.sets if made.construction not in matched()]
    if not sets:
        return nothing(EMPTY)
    changes = [made.images - shown.images for made in sets]
    factor = magnification(changes)
    columns = [
        (made.title, np.clip(0.5 + factor * change, 0, 1), made.labels)
        for made, change in zip(sets, changes, strict=True)
    ]
    return _columns(columns, title, f"{note} Grey is no change; changes are shown {factor:.2g} times as large.")


def matched_from(shown: Shown, *, title: str, note: str) -> Figure:
    """Draw each original, the image that its match in D_R and D_NR started from, and the matches."""
    sets = [made for made in shown.sets if made.construction in matched() and min(made.starts) >= 0]
    if not sets:
        return nothing(EMPTY)
    columns = [("original", shown.images, shown.labels)]
    for made, before in zip(sets, [None, *sets], strict=False):
        if before is None or made.starts != before.starts:
            columns.append(("start", shown.pool[made.starts], [int(label) for label in shown.pool_labels[made.starts]]))
        columns.append((made.title, made.images, made.labels))
    return _columns(columns, title, note)


def norms(datasets: pd.DataFrame, *, title: str, note: str) -> Figure:
    """Draw a histogram of the norms of the stored perturbations of each set that is not matched, first seed of each."""
    made = one_each(datasets, CONSTRUCTIONS.where(lambda made: made.features != "matched"))
    if made.empty:
        return nothing(EMPTY)
    figure, (ax,) = blank(8, 4)
    for index, row in enumerate(made.to_dict("records")):
        counts = np.asarray(row["norm_histogram"], np.float64)
        edges = np.linspace(0, row["max_norm"], len(counts) + 1)
        colour = COLOURS[index % len(COLOURS)]
        style = "-" if index < len(COLOURS) else "--"
        ax.stairs(counts / counts.sum(), edges, color=colour, linestyle=style, linewidth=1.6, label=_title(row))
    ax.set_xlabel("norm of the stored perturbation, pixels in [0, 1]")
    ax.set_ylabel("images of the set, share")
    quiet(ax, grid="y")
    outside_legend(figure, ax)
    ax.set_title(title, loc="left", fontsize=11)
    footnote(figure, note)
    return figure


def note(shown: Shown) -> str:
    """Return the footnote of a gallery: which images these are, and what is written under them."""
    return f"{shown.dataset}: the first training image of each class. Under each image: its label."


def magnification(changes: Sequence[Images]) -> float:
    """Return the factor at which changes just fit into 0.5 around grey; 1 if nothing changed."""
    largest = max(float(np.abs(change).max()) for change in changes)
    return 0.5 / largest if largest > 0 else 1.0


def _columns(columns: Sequence[tuple[str, Images, Sequence[int]]], title: str, note: str) -> Figure:
    """Draw columns of images with headings, and a label under each image."""
    rows = len(columns[0][1])
    figure, axes = blank(1.35 * len(columns) + 0.4, 1.12 * rows + 0.9, rows=rows, columns=len(columns))
    for row in range(rows):
        for column, (heading, images, labels) in enumerate(columns):
            ax = axes[row * len(columns) + column]
            _show(ax, images[row], heading if row == 0 else "")
            ax.set_xlabel(str(labels[row]), fontsize=8, labelpad=1)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    footnote(figure, note)
    return figure


def _show(ax: Axes, image: Images, heading: str) -> None:
    grey = image.shape[0] == 1
    ax.imshow(image[0] if grey else image.transpose(1, 2, 0), cmap="gray" if grey else None, vmin=0, vmax=1)
    ax.set_xticks([])
    ax.set_yticks([])
    if heading:
        ax.set_title(heading.replace(" of ", "\nof ").replace(", ", "\n"), fontsize=8)


def _title(made: Mapping[Hashable, Any]) -> str:
    text, ball = set_text(made), ball_text(made["norm"], made["epsilon"])
    return f"{text}, {ball}" if ball else text


def _as_float(pixels: npt.NDArray[Any]) -> Images:
    scale = np.float32(255 if pixels.dtype == np.uint8 else 1)
    found: Images = pixels.astype(np.float32) / scale
    return found
