"""Which words of two texts differ."""

from difflib import SequenceMatcher
from typing import NamedTuple


class Stretch(NamedTuple):
    """Some words of one text, and those that stand in their place in another."""

    before: str
    """Empty where words were put in."""
    after: str
    """Empty where words were left out."""

    @property
    def is_changed(self) -> bool:
        """Whether they differ."""
        return self.before != self.after


def stretches(before: str, after: str, *, replaced: bool) -> list[Stretch]:
    """Return two texts cut into stretches that are the same or differ, in order.

    They are compared by the runs of words that they share (Ratcliff and Obershelp, by `difflib`). Where words were
    `replaced`, and none of them was put together of others, a word stands where another stood: then word by word.
    """
    old, new = before.split(), after.split()
    if replaced and len(old) == len(new):
        return [Stretch(*pair) for pair in zip(old, new, strict=True)]
    cuts = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return [Stretch(" ".join(old[a:b]), " ".join(new[c:d])) for _, a, b, c, d in cuts]
