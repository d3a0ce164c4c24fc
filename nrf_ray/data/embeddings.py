"""Tokenisation of texts, and word vectors learnt from them.

`LEARNT` learns an embedding from the training texts alone, without labels and without downloads: positive pointwise
mutual information of words near each other, factorised by a truncated singular value decomposition (Levy and Goldberg
2014). `encoders` takes the tokens and vectors of a pretrained encoder instead.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from nrf_ray.data.words import UNKNOWN, Scaling, WordTable, table_of
from nrf_ray.errors import ConfigError
from nrf_ray.seeding import derive_seed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from scipy.sparse import csr_matrix

    Places = npt.NDArray[np.int32]
    Floats = npt.NDArray[np.float64]

WIDTH = 192
"""Coordinates of a learnt vector."""
WINDOW = 20
"""Largest distance in words at which two words count as near."""
SMOOTHING = 0.75
"""Exponent of the contexts' frequencies: rare contexts would otherwise count too much (Levy et al. 2015)."""
SPREAD = 0.07
"""Standard deviation of a word's coordinates in the box: every word is SPREAD * sqrt(WIDTH) = .97 from the centre."""
TIED = 1e-9
"""Distance of two singular values that count as equal, as a share of the largest one."""
NOISE = 0.01
"""Largest change of a number, as a share of it, that tells equal singular values apart."""
OVERSAMPLED, ITERATIONS = 32, 8
"""Further random vectors of subspace iteration, and number of its iterations."""
BLOCK = 1024
"""Texts whose pairs of words are listed together before they are counted."""
MAX_WORDS = 30_000
"""Largest size of a learnt vocabulary, which has the most frequent words."""
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf"  # Thai, Lao, Myanmar, Khmer, Tai
    "\u3005-\u3007\u3040-\u30ff\u3100-\u312f\u31a0-\u31bf\u31f0-\u31ff\uff66-\uff9f"  # kana, bopomofo
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
"""Scripts without spaces between words, as a character class of a pattern. Each of their characters is a word."""
MARKS = (
    "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u102b-\u103e\u1056-\u1059\u105e-\u1060"
    "\u1062-\u1064\u1067-\u106d\u1071-\u1074\u1082-\u108d\u108f\u109a-\u109d\u17b4-\u17d3\u17dd\u1a55-\u1a5e"
    "\u1a60-\u1a7c\u1a7f\u3099\u309a\uff9e\uff9f"
)
"""Vowel and tone marks of these scripts, which belong to the character before them."""
LETTER = rf"[^\W{UNSPACED}]"
TOKEN = rf"{LETTER}+(?:'{LETTER}+)*|[{UNSPACED}][{MARKS}]*|[^\w\s]"
"""Pattern of a word with its apostrophes, a character of a script without spaces, or one sign; for texts without marks.
"""
WITH_MARKS = (range(0x300, 0x10000), (*range(0x10000, 0x20000), *range(0xE0100, 0xE01F0)))
"""Code points among which Unicode has combining marks: those that `re` finds in a table, and those in a slow list."""
JOINERS = "\u200c\u200d"
"""Joiners of letters. Behind a mark they are in the middle of a word, as in Sinhala; elsewhere they are signs."""
PAIRS = (
    "word vectors are learnt from the pairs of words in a text; give texts of several words, or name a pretrained "
    "embedding with #hf:NAME behind the path"
)


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """Tokeniser and word vectors for the texts of a dataset."""

    identity: str
    """Everything besides the texts that determines the vectors; part of the content digest."""
    width: int
    """Coordinates of a vector."""
    tokenise: Callable[[str], list[str]]
    """Function from a text to its tokens."""
    learn: Callable[[Sequence[Sequence[str]]], WordTable]
    """Function from the tokenised training texts to the table of words."""
    by_character: Callable[[str], bool] = lambda text: False
    """Whether a text has characters that are words by themselves because its script has no spaces."""
    newly_cut: Callable[[str], bool] = lambda text: False
    """Whether versions before marks belonged to their letters cut a text into other words."""
    needs_pairs: bool = False
    """Whether the embedding cannot be learnt from texts of one word."""


def words_of(text: str) -> list[str]:
    """Return the words and punctuation marks of `text` in lower case.

    Vowel signs, points and accents (combining marks) belong to the letter before them. Letters that Unicode has with
    and without a mark of their own are composed (NFC), so that both spellings are one word.
    """
    lower = text.lower()
    if lower.isascii():
        return re.findall(TOKEN, lower)
    return _token_with_marks().findall(unicodedata.normalize("NFC", lower))


@cache
def _token_with_marks() -> re.Pattern[str]:
    """Return `TOKEN` for texts with combining marks, which `re` does not count among the letters."""
    plain, astral = ([chr(code) for code in codes if unicodedata.category(chr(code))[0] == "M"] for codes in WITH_MARKS)
    mark = rf"(?:[{''.join(plain)}]|(?![\0-\uffff])[{''.join(astral)}])"
    letter = rf"(?:{LETTER}(?:{mark}|(?<={mark})[{JOINERS}](?={LETTER}))*)"
    return re.compile(rf"{letter}+(?:'{letter}+)*|[{UNSPACED}](?:[{MARKS}]|{mark})*|[^\w\s]")


def learn_words(texts: Sequence[Sequence[str]]) -> WordTable:
    """Learn the table of words from tokenised training `texts`, without labels.

    The vector of unknown words is the mean of the vectors of words that occur once. The same texts give the same table
    on the same machine. On another machine, rounding may move a coordinate by one of 255 levels, and turn the vectors
    of equal singular values in a vocabulary of up to `WIDTH` words, which changes no distance.
    """
    import numpy as np

    counts = Counter(word for tokens in texts for word in tokens)
    words = [word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))][:MAX_WORDS]
    if len(words) < 2:
        raise ConfigError(f"the training texts have {len(words)} different words; an embedding needs at least two")
    vectors = _normalised(_factors(_information(texts, words), WIDTH))
    once = [place for place, word in enumerate(words) if counts[word] == 1] or list(range(len(words)))
    unknown = _normalised(vectors[once].mean(axis=0, keepdims=True))
    scaling = Scaling((0.5,) * WIDTH, (SPREAD,) * WIDTH)
    return table_of([UNKNOWN, *words], np.concatenate([unknown, vectors]), scaling)


def _information(texts: Sequence[Sequence[str]], words: Sequence[str]) -> "csr_matrix":
    """Return the positive pointwise mutual information of all pairs of `words` within `WINDOW`, [v, v]."""
    import numpy as np
    from scipy import sparse

    places = {word: place for place, word in enumerate(words)}
    size = (len(words), len(words))
    before = sparse.csr_matrix(size)
    for start in range(0, len(texts), BLOCK):
        left, right = _pairs(texts[start : start + BLOCK], places)
        before = before + sparse.csr_matrix((np.ones(len(left)), (left, right)), shape=size)
    pairs = (before + before.T).tocsr()
    if not pairs.nnz:
        raise ConfigError(f"no training text has two words, and {PAIRS}")
    pairs.sort_indices()
    of_word = np.asarray(pairs.sum(axis=1)).ravel()
    context = of_word**SMOOTHING / (of_word**SMOOTHING).sum()
    found = pairs.tocoo()
    information = np.log(found.data / (of_word[found.row] * context[found.col]))
    return sparse.csr_matrix((np.maximum(information, 0.0), (found.row, found.col)), shape=size)


def _pairs(texts: Sequence[Sequence[str]], places: Mapping[str, int]) -> "tuple[Places, Places]":
    """Return all pairs of words within `WINDOW`: the indices of the first words, and of the second words."""
    import numpy as np

    left, right = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
    for tokens in texts:
        here = np.array([places[token] for token in tokens if token in places], np.int32)
        for apart in range(1, min(WINDOW, len(here) - 1) + 1):
            left.append(here[:-apart])
            right.append(here[apart:])
    return np.concatenate(left), np.concatenate(right)


def _factors(matrix: "csr_matrix", width: int) -> "Floats":
    """Return `width` left singular vectors of `matrix` [v, v], each times the root of its singular value, as columns.

    Their signs are fixed. One fixed rotation is applied to them, which changes no distance and spreads the few
    coordinates of a small vocabulary over all coordinates.
    """
    import numpy as np

    if matrix.shape[0] <= width + 1:
        vectors, values, _ = np.linalg.svd(matrix.toarray())
    else:
        vectors, values = _largest(matrix, width)
    order = np.argsort(-values, kind="stable")[:width]
    vectors, values = vectors[:, order], values[order]
    peaks = vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])]
    scaled = vectors * np.where(peaks < 0, -1.0, 1.0) * np.sqrt(values)
    draws = np.random.Generator(np.random.PCG64(derive_seed(0, "embedding"))).standard_normal((width, width))
    rotation, upper = np.linalg.qr(draws)
    rotation = rotation * np.sign(np.diag(upper))
    turned: npt.NDArray[np.float64] = scaled @ rotation[: scaled.shape[1]]
    return turned


def _largest(matrix: "csr_matrix", width: int) -> "tuple[Floats, Floats]":
    """Return the left singular vectors of the `width` largest singular values of `matrix`, and these values.

    Texts that follow a template have hundreds of equal singular values. ARPACK then takes vectors of its own choice,
    other ones at each call, or fails; so equal values are told apart first.
    """
    import numpy as np
    from scipy.sparse.linalg import ArpackError, svds

    try:
        vectors, values, _ = svds(matrix, k=width, v0=np.ones(matrix.shape[0]), solver="arpack")
    except ArpackError:
        return _told_apart(matrix, width)
    ordered = np.sort(values)
    if (np.diff(ordered) < TIED * ordered[-1]).any():
        return _told_apart(matrix, width)
    return np.asarray(vectors, np.float64), np.asarray(values, np.float64)


def _told_apart(matrix: "csr_matrix", width: int) -> "tuple[Floats, Floats]":
    """Return the same as `_largest`, approximately, for a matrix with equal singular values.

    Each number is changed by up to `NOISE` of itself, and subspace iteration begins with fixed random vectors (Halko,
    Martinsson and Tropp 2011, algorithm 4.4): both make the result independent of rounding.
    """
    import numpy as np
    from scipy import sparse

    draws = np.random.Generator(np.random.PCG64(derive_seed(0, "equal singular values")))
    found, phases = matrix.tocoo(), draws.standard_normal(matrix.shape[0])
    change = np.sin(2**10 * (phases[found.row] + phases[found.col]))
    changed = sparse.csr_matrix((found.data * (1 + NOISE * change), (found.row, found.col)), shape=matrix.shape)
    basis = np.linalg.qr(np.asarray(changed @ draws.standard_normal((matrix.shape[0], width + OVERSAMPLED))))[0]
    for _ in range(ITERATIONS):
        basis = np.linalg.qr(changed @ (changed.T @ basis))[0]
    vectors, values, _ = np.linalg.svd(basis.T @ changed, full_matrices=False)
    return basis @ vectors[:, :width], values[:width]


def _normalised(vectors: "npt.NDArray[np.float64]") -> "npt.NDArray[np.float64]":
    """Scale `vectors` [v, width] to length sqrt(width), so that a coordinate has variance 1; zero vectors stay zero."""
    import numpy as np

    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: npt.NDArray[np.float64] = vectors / np.maximum(lengths, 1e-12) * vectors.shape[1] ** 0.5
    return scaled


LEARNT = Embedding(
    identity="ppmi-svd-1",
    width=WIDTH,
    tokenise=words_of,
    learn=learn_words,
    by_character=lambda text: re.search(f"[{UNSPACED}]", text) is not None,
    newly_cut=lambda text: not text.isascii() and words_of(text) != re.findall(TOKEN, text.lower()),
    needs_pairs=True,
)
"""The default embedding."""
