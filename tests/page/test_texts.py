"""Which words of two texts differ: known answers, and nothing is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nrf_ray.page.texts import stretches

TEXT = st.lists(st.sampled_from(["a", "b", "c", "<i>"]), max_size=6).map(" ".join)


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ("a dull film", "a bright film", [("dull", "bright")]),
        ("a b", "b a", [("a", "b"), ("b", "a")]),
        ("a new film", "a film", [("new", "")]),
        ("a film", "a long new film", [("", "long new")]),
        ("un believ able", "unlikely", [("un believ able", "unlikely")]),
        ("un seen and dull", "unseen and so dull", [("un", "unseen"), ("seen", "and"), ("and", "so")]),
        ("same", "same", []),
        ("", "", []),
    ],
    ids=str,
)
def test_known_answers_where_words_were_replaced(before: str, after: str, changed: list[tuple[str, str]]) -> None:
    assert [tuple(stretch) for stretch in stretches(before, after, replaced=True) if stretch.is_changed] == changed


def test_other_texts_of_as_many_words_are_compared_by_what_they_share() -> None:
    found = stretches("un seen and dull", "unseen and so dull", replaced=False)
    assert [tuple(stretch) for stretch in found if stretch.is_changed] == [("un seen", "unseen"), ("", "so")]


@given(before=TEXT, after=TEXT, replaced=st.booleans())
def test_both_texts_are_there_again(before: str, after: str, replaced: bool) -> None:
    found = stretches(before, after, replaced=replaced)
    assert " ".join(stretch.before for stretch in found if stretch.before) == before
    assert " ".join(stretch.after for stretch in found if stretch.after) == after
