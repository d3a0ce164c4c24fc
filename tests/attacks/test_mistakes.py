"""Same and different mistakes of two models: known answers, and what must hold of any predictions."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nrf_ray.attacks.mistakes import mistakes

CLASSES = 4
PREDICTIONS = st.lists(st.tuples(*[st.integers(0, CLASSES - 1)] * 3), min_size=1, max_size=40)


def of(*rows):
    """Return the mistakes for rows of (label, source's prediction, victim's prediction)."""
    labels, source, victim = (torch.tensor(column) for column in zip(*rows, strict=True))
    return mistakes(labels, source, victim, CLASSES)


def test_each_kind_of_image_is_counted_once():
    found = of((0, 1, 1), (0, 1, 2), (0, 0, 2), (0, 1, 0), (0, 0, 0))
    assert (found.same, found.different) == pytest.approx((1 / 5, 2 / 5))
    # Of the two images that both misclassify, the source calls both 1 and the victim one of them.
    assert found.same_by_chance == pytest.approx(1 / 5)


def test_classes_that_are_always_confused_are_the_same_by_chance():
    """Both call every 0 a 1, so that they agree says nothing of an image; swapped mistakes agree half the time."""
    always = of(*[(0, 1, 1)] * 6)
    assert (always.same, always.same_by_chance) == (1.0, 1.0)
    agreeing = of((0, 1, 1), (0, 2, 2), (0, 1, 1), (0, 2, 2))
    opposed = of((0, 1, 2), (0, 2, 1), (0, 1, 2), (0, 2, 1))
    assert (agreeing.same, agreeing.same_by_chance) == (1.0, 0.5)
    assert (opposed.same, opposed.same_by_chance) == (0.0, 0.5)


def test_chance_is_counted_within_each_label():
    assert of((0, 1, 1), (1, 2, 2), (2, 3, 3)).same_by_chance == 1.0


def test_a_prediction_that_is_no_class_is_a_mistake_and_the_same_as_none():
    found = of((0, -1, -1), (0, 1, -1), (0, -1, 1))
    assert (found.same, found.different, found.same_by_chance) == (0.0, 1.0, 0.0)


@given(PREDICTIONS)
def test_both_kinds_together_are_the_victims_mistakes(rows):
    found = of(*rows)
    assert found.same + found.different == pytest.approx(sum(y != victim for y, _, victim in rows) / len(rows))
    both = sum(y not in (source, victim) for y, source, victim in rows) / len(rows)
    assert 0 <= found.same <= both + 1e-12
    assert -1e-12 <= found.same_by_chance <= both + 1e-12


@given(PREDICTIONS, st.randoms())
def test_neither_the_order_of_images_nor_the_roles_change_what_is_the_same(rows, random):
    found, turned = of(*rows), of(*((y, victim, source) for y, source, victim in rows))
    shuffled = of(*random.sample(rows, len(rows)))
    assert tuple(shuffled) == pytest.approx(tuple(found))
    assert (turned.same, turned.same_by_chance) == pytest.approx((found.same, found.same_by_chance))


@given(PREDICTIONS)
def test_chance_is_the_mean_over_all_ways_to_match(rows):
    """The mean over matchings of one label's images, each of the victim's classes with each of the source's."""
    expected = 0.0
    for label in range(CLASSES):
        both = [(source, victim) for y, source, victim in rows if y == label and y not in (source, victim)]
        expected += sum(a == b for a, _ in both for _, b in both) / max(1, len(both))
    assert of(*rows).same_by_chance == pytest.approx(expected / len(rows))
