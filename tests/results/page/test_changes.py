"""Which words of two texts differ: known answers, and nothing is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nrf_ray.page.changes import stretches

TEXT = st.lists(st.sampled_from(["a", "b", "c", "<i>"]), max_size=6).map(" ".join)


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ("a dull film", "a bright film", [("dull", "bright")]),
        ("a b", "b a", [("a", "b"), ("b", "a")]),
        ("a new film", "a film", [("new", "")]),
        ("a film", "a long new film", [("", "long new")]),
        ("un believ able", "unlikely", [("un believ able", "unlikely")]),
        ("same", "same", []),
        ("", "", []),
    ],
    ids=str,
)
def test_known_answers(before: str, after: str, changed: list[tuple[str, str]]) -> None:
    assert [tuple(stretch) for stretch in stretches(before, after) if stretch.is_changed] == changed


@given(before=TEXT, after=TEXT)
def test_both_texts_are_there_again(before: str, after: str) -> None:
    found = stretches(before, after)
    assert " ".join(stretch.before for stretch in found if stretch.before) == before
    assert " ".join(stretch.after for stretch in found if stretch.after) == after
