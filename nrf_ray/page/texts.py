"""Constructed texts as HTML: original and constructed side by side, the words that differ marked and listed.

Removed words are struck out, new words are underlined and bold, and a line under each text lists the changes; so no
information depends on colour, or on marks alone.
"""

from difflib import SequenceMatcher
from functools import partial
from typing import NamedTuple

from nrf_ray.page.elements import count, grid, listed, section
from nrf_ray.page.html import Html, el, join
from nrf_ray.page.snapshot import Passage, Reading, Snapshot, Start

MOST_TOLD = 8
"""Maximum number of changes listed for one text."""

NEAREST = "This set has no readable text: its vectors are between words. The word nearest to each vector is shown."
UNMARKED = "If no word is marked, every vector is still nearest to its original word."
UNRELATED = {
    Start.OTHER: "Each was made of another text, so no word is marked.",
    Start.NOISE: "Each was made of noise, so no word is marked.",
}


class Stretch(NamedTuple):
    """Some words of one text, and the words in their place in another text."""

    before: str
    """Words of the first text; empty if words were inserted."""
    after: str
    """Words of the second text; empty if words were removed."""

    @property
    def is_changed(self) -> bool:
        """Whether the words differ."""
        return self.before != self.after


def stretches(before: str, after: str, *, replaced: bool) -> list[Stretch]:
    """Return two texts split into stretches that are the same or differ, in order.

    If words were `replaced` and both texts have as many words (no pieces of words were joined), they are compared word
    by word. Otherwise they are compared by the runs of words that they share (Ratcliff and Obershelp, in `difflib`).
    """
    old, new = before.split(), after.split()
    if replaced and len(old) == len(new):
        return [Stretch(*pair) for pair in zip(old, new, strict=True)]
    cuts = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return [Stretch(" ".join(old[a:b]), " ".join(new[c:d])) for _, a, b, c, d in cuts]


def texts(known: Snapshot) -> Html | None:
    """Return the section with a few texts of each constructed set; None if there are none."""
    if not known.readings:
        return None
    lede = "Each beside a text of the training set. Removed words are struck out, new words are underlined."
    return section("texts", "Texts", el("p", lede), *map(reading, known.readings))


def reading(shown: Reading) -> Html:
    """Return the texts of one set as a table, one row per text."""
    related = shown.start is Start.ITSELF
    about = (NEAREST, UNRELATED.get(shown.start, UNMARKED)) if shown.nearest else ()
    first = "original" if related else "text whose features it has"
    pair = partial(_marked, replaced=not shown.nearest) if related else _unmarked
    rows = [(passage.label, *pair(passage)) for passage in shown.passages]
    return el(
        "figure",
        el("h3", shown.title),
        el("p", " ".join(about)) if about else None,
        grid(f"texts of {shown.title}", ("label", first, "constructed"), rows, names=3),
        el("figcaption", "true label → new label. ", el("code", f"nrf show {shown.key[:12]}")),
        cls="texts",
    )


def _unmarked(passage: Passage) -> tuple[Html, Html]:
    """Return original and constructed text."""
    return el("span", passage.original, dir="auto"), el("span", passage.constructed, dir="auto")


def _marked(passage: Passage, *, replaced: bool) -> tuple[Html, Html]:
    """Return both texts with the words that differ marked (see `stretches`), and the changes listed below."""
    found = stretches(passage.original, passage.constructed, replaced=replaced)
    before = el("span", join(_words(stretch.before, stretch, "del") for stretch in found), dir="auto")
    after = el("span", join(_words(stretch.after, stretch, "ins") for stretch in found), dir="auto")
    return before, join((after, el("p", _told(found), cls="note")))


def _words(words: str, stretch: Stretch, tag: str) -> Html:
    """Return one side of a stretch with a space after it; empty if it has no words."""
    if not words:
        return Html("")
    return join((el(tag, words) if stretch.is_changed else words, " "))


def _told(found: list[Stretch]) -> str:
    """Return a list of the changes in words."""
    changed = [stretch for stretch in found if stretch.is_changed]
    if not changed:
        return "no word differs"
    pairs = [f"{stretch.before or 'nothing'} → {stretch.after or 'nothing'}" for stretch in changed]
    return f"{count(len(changed), 'change')}: {listed(pairs, MOST_TOLD)}"
