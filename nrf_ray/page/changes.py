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


def stretches(before: str, after: str) -> list[Stretch]:
    """Return two texts cut into stretches that are the same or differ, in order.

    Texts of as many words are compared word by word, as a substitution changes them; others by the runs of words that
    they share (Ratcliff and Obershelp, by `difflib`).
    """
    old, new = before.split(), after.split()
    if len(old) == len(new):
        return [Stretch(*pair) for pair in zip(old, new, strict=True)]
    cuts = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return [Stretch(" ".join(old[a:b]), " ".join(new[c:d])) for _, a, b, c, d in cuts]
