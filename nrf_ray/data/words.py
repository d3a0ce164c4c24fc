"""Words as points of the box: the table that turns texts into images of shape (1, length, width), and back.

An embedded text is an image with one channel, one row per token and one column per coordinate. All models of a dataset
share its table, so a constructed sequence of vectors means the same to all of them. Words are well inside the box
[0, 1]. Padding after a text is the corner 0, which is not a word, and text models ignore it (`models.classifier`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from nrf_ray.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

UNKNOWN = "<unk>"
"""Token for every word that the training texts do not have."""
BEGINS = ("Ġ", "▁")
"""Prefix of the first piece of a word, in byte-level and in sentencepiece vocabularies."""
WORD_MEAN = 0.35
"""Smallest mean of the coordinates of a word; a model takes a vector with a far smaller mean for padding."""
NOT_A_WORD = frozenset((UNKNOWN, "[UNK]"))
"""Tokens that stand for an unknown word, here and in the vocabularies of encoders."""
LEVELS = 255
BLOCK = 256
"""Vectors whose distances to all words are computed together: 30 MB for an encoder's 30,000 words."""
MOVED = -2
"""Index of a vector that does not belong to any word."""


class Scaling(NamedTuple):
    """Scaling of an embedding into the box: mean + std * vector, per coordinate."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class WordTable:
    """A vocabulary and its vectors. No two words have the same vector."""

    words: tuple[str, ...]
    """The words, [v]."""
    vectors: "npt.NDArray[np.uint8]"
    """Vectors of the words, [v, width], as levels 0..255."""
    scaling: Scaling
    """Scaling that gives the original embedding as (vectors / 255 - mean) / std."""

    def embed(self, texts: Sequence[Sequence[str]], length: int) -> "npt.NDArray[np.uint8]":
        """Return tokenised texts as levels [n, 1, length, width]: cut at `length` tokens, padded with zeros."""
        import numpy as np

        embedded = np.zeros((len(texts), 1, length, self.vectors.shape[1]), np.uint8)
        unknown = self._places.get(UNKNOWN, -1)
        for row, tokens in enumerate(texts):
            places = [self._places.get(token, unknown) for token in tokens[:length]]
            assert -1 not in places, "a table without an unknown word has every token"
            embedded[row, 0, : len(places)] = self.vectors[places]
        return embedded

    def unknown(self, texts: Sequence[Sequence[str]]) -> int:
        """Return how many tokens of tokenised texts are not words of this table."""
        return sum(token in NOT_A_WORD or token not in self._places for tokens in texts for token in tokens)

    def places_of(self, levels: "npt.NDArray[np.uint8]") -> "npt.NDArray[np.int64]":
        """Return the index of the nearest word for each vector of levels [..., width]; -1 for padding (all zeros)."""
        import numpy as np

        flat = np.ascontiguousarray(levels).reshape(-1, levels.shape[-1])
        found = np.array([self._exact.get(vector, MOVED) for vector in map(bytes, flat)], np.int64)
        moved = np.flatnonzero(found == MOVED)
        for start in range(0, len(moved), BLOCK):
            block = moved[start : start + BLOCK]
            found[block] = _distances(self.vectors, flat[block]).argmin(axis=1)
        return found.reshape(levels.shape[:-1])

    def texts_of(self, levels: "npt.NDArray[np.uint8]") -> list[str]:
        """Return embedded texts [n, 1, length, width] as readable texts: the nearest word of each vector."""
        return self.texts_at(self.places_of(levels))

    def texts_at(self, places: "npt.NDArray[np.int64]") -> list[str]:
        """Return the texts of the word indices `places` [n, 1, length]; -1 is padding."""
        return [self.text(row[row >= 0].tolist()) for row in places[:, 0]]

    def text(self, places: Sequence[int]) -> str:
        """Return the words with the indices `places` as one text, without an encoder's special tokens.

        Pieces of words (##ing) are joined to the piece before; in vocabularies that mark the first piece of a word
        instead (`BEGINS`), pieces without that mark are.
        """
        words = [self.words[place] for place in places if not self.is_mark[place] or self.words[place] == UNKNOWN]
        for begins in BEGINS:
            if any(word.startswith(begins) for word in words):
                return "".join(words).replace(begins, " ").strip()
        return " ".join(words).replace(" ##", "")

    def neighbours(self, count: int, among: int | None = None) -> "npt.NDArray[np.int64]":
        """Return the indices of the `count` nearest words of each word by l2 distance, nearest first, [v, count].

        Neighbours are chosen from the first `among` words, which are the most frequent; None for all words. Special
        tokens such as <unk> and [SEP] are never neighbours. Raises ConfigError if there are too few words.
        """
        import numpy as np

        usable = int((~self.is_mark[:among]).sum())
        if not 1 <= count < usable:
            raise ConfigError(f"a word among {usable} has 1 to {usable - 1} neighbours, not {count}")
        found = np.empty((len(self.words), count), np.int64)
        for start in range(0, len(self.words), BLOCK):
            distances = _distances(self.vectors[:among], self.vectors[start : start + BLOCK])
            distances[:, self.is_mark[:among]] = np.inf
            own = np.arange(start, min(start + len(distances), distances.shape[1]))
            distances[own - start, own] = np.inf
            near = np.sort(np.argpartition(distances, count - 1, axis=1)[:, :count], axis=1)
            order = np.argsort(np.take_along_axis(distances, near, axis=1), axis=1, kind="stable")
            found[start : start + BLOCK] = np.take_along_axis(near, order, axis=1)
        return found

    def typical_distance(self) -> float:
        """Return the median l2 distance of a word to its nearest neighbour, in units of the box: a scale for eps."""
        import numpy as np

        words = np.flatnonzero(~self.is_mark)
        nearest = self.vectors[self.neighbours(1)[words, 0]]
        apart = (self.vectors[words].astype(np.float64) - nearest) / LEVELS
        return float(np.median(np.sqrt((apart**2).sum(axis=1))))

    @cached_property
    def is_mark(self) -> "npt.NDArray[np.bool_]":
        """Whether each entry is a special token such as <unk> or [CLS] and not a word, [v]."""
        import numpy as np

        return np.array([len(w) > 2 and (w[0] + w[-1]) in ("<>", "[]") for w in self.words])

    @cached_property
    def _places(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.words)}

    @cached_property
    def _exact(self) -> dict[bytes, int]:
        padding = {bytes(self.vectors.shape[1]): -1}
        return padding | {vector.tobytes(): place for place, vector in enumerate(self.vectors)}


def table_of(words: Sequence[str], embedding: "npt.NDArray[np.floating]", scaling: Scaling) -> WordTable:
    """Return the table of `words` with their `embedding` [v, width], scaled into the box and rounded to 8 bits.

    Vectors that equal an earlier word's are changed by one level in as few coordinates as possible. Raises ConfigError
    if a word is too near to the corner of the box that means padding.
    """
    import numpy as np

    inside = np.clip(np.array(scaling.mean) + np.array(scaling.std) * embedding, 0.0, 1.0)
    levels = np.rint(inside * LEVELS).astype(np.uint8)
    low = np.flatnonzero(levels.mean(axis=1) < WORD_MEAN * LEVELS)
    if len(low):
        raise ConfigError(
            f"{len(low)} words, {words[low[0]]!r} among them, are too near to the corner of the box that means "
            "padding; use another embedding"
        )
    return WordTable(words=tuple(words), vectors=_told_apart(levels), scaling=scaling)


def _told_apart(levels: "npt.NDArray[np.uint8]") -> "npt.NDArray[np.uint8]":
    """Return `levels` [v, width] with equal rows made different, by one level in as few coordinates as possible."""
    seen: set[bytes] = set()
    apart = levels.copy()
    for row in apart:
        coordinate = 0
        while row.tobytes() in seen:
            level = int(row[coordinate % len(row)])
            row[coordinate % len(row)] = level + 1 if level < LEVELS else level - 1
            coordinate += 1
        seen.add(row.tobytes())
    return apart


def _distances(vectors: "npt.NDArray[np.uint8]", chosen: "npt.NDArray[np.uint8]") -> "npt.NDArray[np.float32]":
    """Return the squared l2 distances, in levels, from `chosen` [m, width] to all `vectors` [v, width], as [m, v]."""
    import numpy as np

    left, right = chosen.astype(np.float32), vectors.astype(np.float32)
    squares: npt.NDArray[np.float32] = (left**2).sum(1)[:, None] + (right**2).sum(1)[None] - 2 * left @ right.T
    return squares
