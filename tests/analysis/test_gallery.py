"""Galleries by the pixels that are drawn, on sets that are known; test_notebooks compares with what is stored."""

import numpy as np
import pytest

import gallery
from gallery import Picked, Shown
from tests.frames import datasets

POOL = np.linspace(0, 1, 4 * 3 * 2 * 2, dtype=np.float32).reshape(4, 3, 2, 2)
LABELS = np.array([7, 1, 0, 2])


def picked(construction, change, starts):
    images = np.clip(POOL[[2, 1]] + np.float32(change), 0, 1)
    return Picked(construction=construction, title=construction, images=images, labels=[8, 9], starts=starts)


SHOWN = Shown(
    dataset="digits",
    indices=[2, 1],
    pool=POOL,
    pool_labels=LABELS,
    sets=[
        picked("d_robust", 0.3, [0, 3]),
        picked("d_nonrobust", -0.3, [0, 3]),
        picked("d_det", 0.1, [2, 1]),
        picked("leak_det", -0.05, [2, 1]),
    ],
)
NOTHING = Shown(dataset="", indices=[], pool=POOL[:0], pool_labels=LABELS[:0], sets=[])
WORDS = {"title": "a title", "note": "a note"}


def drawn(figure):
    """Return the images of a figure, as rows of [h, w, c], with the words above the first row and under each image."""
    rows = figure.axes[0].get_subplotspec().get_gridspec().nrows
    columns = len(figure.axes) // rows
    pixels = [np.asarray(ax.images[0].get_array()) for ax in figure.axes]
    heads = [ax.get_title() for ax in figure.axes[:columns]]
    under = [[ax.get_xlabel() for ax in figure.axes[i : i + columns]] for i in range(0, len(pixels), columns)]
    return [pixels[i : i + columns] for i in range(0, len(pixels), columns)], heads, under


def test_originals_and_their_labels_are_chosen_by_number():
    assert SHOWN.images.tolist() == POOL[[2, 1]].tolist()
    assert SHOWN.labels == [0, 1]


def test_every_row_is_one_image_in_every_set():
    rows, heads, under = drawn(gallery.sets_side_by_side(SHOWN, **WORDS))
    assert heads == ["original", "d_robust", "d_nonrobust", "d_det", "leak_det"]
    assert rows[0][0] == pytest.approx(POOL[2].transpose(1, 2, 0))
    assert rows[1][3] == pytest.approx(SHOWN.sets[2].images[1].transpose(1, 2, 0))
    assert under == [["0", "8", "8", "8", "8"], ["1", "9", "9", "9", "9"]]


def test_what_was_added_is_on_grey_and_only_of_sets_made_by_adding():
    figure = gallery.perturbations(SHOWN, **WORDS)
    rows, heads, _ = drawn(figure)
    assert heads == ["d_det", "leak_det"]
    assert rows[0][0] == pytest.approx(np.full((2, 2, 3), 1.0)), ".1 is the largest change, five times as large"
    assert rows[0][1] == pytest.approx(np.full((2, 2, 3), 0.25))
    assert "changes are shown 5 times as large" in " ".join(figure.get_supxlabel().split())


def test_matched_images_stand_beside_what_they_started_from():
    rows, heads, under = drawn(gallery.matched_from(SHOWN, **WORDS))
    assert heads == ["original", "start", "d_robust", "d_nonrobust"], "both started from the same images"
    assert rows[1][1] == pytest.approx(POOL[3].transpose(1, 2, 0))
    assert under[0][:2] == ["0", "7"]


def test_grey_images_are_drawn_from_black_to_white():
    grey = Shown(
        dataset="digits", indices=[0], pool=POOL[:, :1], pool_labels=LABELS,
        sets=[Picked(construction="d_det", title="d_det", images=POOL[:1, :1], labels=[1], starts=[0])],
    )  # fmt: skip
    image = gallery.sets_side_by_side(grey, **WORDS).axes[0].images[0]
    assert image.get_clim() == (0, 1)
    assert np.asarray(image.get_array()) == pytest.approx(POOL[0, 0])


def test_norms_are_histograms_as_they_stand_in_the_table():
    table = datasets([{"construction": "d_det", "max_norm": 2.0, "norm_histogram": [1, 0, 3, 0]}])
    (steps,) = gallery.norms(table, **WORDS).axes[0].patches
    values, edges, _ = steps.get_data()
    assert values.tolist() == [0.25, 0, 0.75, 0]
    assert edges.tolist() == [0, 0.5, 1.0, 1.5, 2.0]
    assert steps.get_label() == "d_det, l2 1"


@pytest.mark.parametrize(
    "draw", [gallery.sets_side_by_side, gallery.perturbations, gallery.matched_from], ids=lambda draw: draw.__name__
)
def test_an_empty_gallery_says_so(draw):
    (said,) = [text.get_text() for text in draw(NOTHING, **WORDS).axes[0].texts]
    assert "no constructed set" in said.replace("\n", " ")
    assert gallery.norms(datasets([]), **WORDS).axes[0].texts
