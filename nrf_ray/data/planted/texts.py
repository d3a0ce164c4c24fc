"""Planted texts: sentences about a topic, whose words have marks that people cannot see.

As characters, a word of noise class c is followed by the c-th of eight invisible characters. As vectors, an embedded
text is an image of shape (1, words, coordinates) in [0, 1], padded with zeros. The coordinates of a word are in pairs.
The human part of its vector is equal in both coordinates of a pair: a code of the word, of norm `human` around the
centre .5. The noise part has opposite signs in the two: the mark of the class, of norm `noise`, the same for every
word. So the vector of a marked word is the plain word's vector plus a short vector, and each part has half of all
dimensions.
"""

from functools import cache

import numpy as np

from nrf_ray.data.planted import grammar
from nrf_ray.data.planted.draws import Floats, Ints, uniform
from nrf_ray.data.planted.parts import Array, Parts, on_lattice
from nrf_ray.data.planted.spec import KINDS, Planted

MARKS = "\u200b\u200c\u200d\u2060\u2061\u2062\u2063\u2064"
"""Zero-width space, non-joiner, joiner, word joiner, function application, times, separator, plus: all invisible."""

CENTRE = 0.5
WRITTEN = 0.25
"""Mean below which a vector is padding; every word's vector has the mean .5."""

_, LENGTH, WIDTH = KINDS["text"].shape
APART = 4
"""Smallest number of pairs in which the codes of two words differ."""


def human_parts(spec: Planted, classes: Ints, split: str) -> Floats:
    """Return the human part of one text per row, [n, 1, 10, 32], about the topics `classes` [n]."""
    number = {word: index for index, word in enumerate(grammar.WORDS)}
    vectors = word_vectors(spec)
    parts = np.zeros((len(classes), 1, LENGTH, WIDTH))
    for row, words in enumerate(grammar.write(spec.seed, classes.tolist(), split)):
        parts[row, 0, : len(words)] = vectors[[number[word] for word in words]]
    return parts


def word_vectors(spec: Planted) -> Floats:
    """Return the vector of every word of the vocabulary, without a mark, [v, 32]."""
    vectors: Floats = CENTRE + on_lattice(spec.human / np.sqrt(WIDTH)) * np.repeat(codes(), 2, axis=1)
    return vectors


def blank(human: Array) -> Array:
    """Return human parts without a meaning: as many words, whose vectors are the centre."""
    return np.where(_written(human), np.asarray(CENTRE, human.dtype), np.asarray(0, human.dtype))


def marks(classes: int) -> Floats:
    """Return the mark of each class as signs, [k, 32]: rows of a Hadamard matrix, so orthogonal, times (+ -)."""
    hadamard: Floats = np.ones((1, 1))
    while len(hadamard) < WIDTH // 2:
        hadamard = np.kron(hadamard, np.array([[1.0, 1.0], [1.0, -1.0]])).astype(np.float64)
    return np.kron(hadamard[1 : classes + 1], np.array([[1.0, -1.0]])).astype(np.float64)


def noise_parts(spec: Planted, classes: Ints, human: Array) -> Floats:
    """Return the noise part of one text per row, showing `classes` [n] in all words of `human` [n, 1, 10, 32]."""
    amplitude = on_lattice(spec.noise / np.sqrt(WIDTH))
    marked: Floats = amplitude * marks(spec.classes)[classes][:, None, None] * _written(human)
    return marked


def take_apart(texts: Array, like: Array) -> Parts:
    """Return the parts of texts or perturbations [n, 1, 10, 32]; values in the padding of the texts `like` are rest."""
    written = _written(like)
    first, second = texts[..., ::2] * written, texts[..., 1::2] * written
    human = np.repeat((first + second) / 2, 2, axis=-1)
    noise = np.stack([(first - second) / 2, (second - first) / 2], axis=-1).reshape(texts.shape)
    return Parts(human, noise, texts - human - noise)


def read_noise(spec: Planted, noise: Array) -> Ints:
    """Return the class whose mark is nearest to the sum over words of each noise part [n, 1, 10, 32]."""
    read: Ints = (noise.astype(np.float64).sum(axis=(1, 2)) @ marks(spec.classes).T).argmax(axis=1)
    return read


def spell(spec: Planted, human_classes: Ints, noise_classes: Ints, split: str) -> list[str]:
    """Return the texts as strings, one per row, each word with its invisible mark."""
    sentences = grammar.write(spec.seed, human_classes.tolist(), split)
    return [
        " ".join(word + (MARKS[mark] if spec.noise else "") for word in words)
        for words, mark in zip(sentences, noise_classes.tolist(), strict=True)
    ]


@cache
def codes() -> Floats:
    """Return the code of every word, [v, 16]: eight +1 and eight -1; two codes differ in at least `APART` places."""
    chosen: list[Floats] = []
    attempt = 0
    while len(chosen) < len(grammar.WORDS):
        order = np.argsort(uniform(0, WIDTH // 2, "code", str(attempt)), kind="stable")
        code = np.where(order < WIDTH // 4, 1.0, -1.0)
        if all((code != other).sum() >= APART for other in chosen):
            chosen.append(code)
        attempt += 1
    return np.stack(chosen)


def _written(texts: Array) -> Array:
    """Return 1 at words and 0 at padding, [n, 1, 10, 1]."""
    written: Array = (texts.mean(axis=-1, keepdims=True) >= WRITTEN).astype(texts.dtype)
    return written
