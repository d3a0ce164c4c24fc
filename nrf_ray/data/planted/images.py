"""Planted images: a digit drawn in cells of 2x2 equal pixels, and a weave inside the cells that keeps their means.

One level of the Haar transform separates the parts of each channel. The human part is constant in every cell (a quarter
of all dimensions). The noise part is the diagonal difference of each cell, (+ - / - +) times a sign: the highest
frequency of an image, another quarter of the dimensions, and the same in all channels. Each class has its own pattern
of signs over the cells, of period 1, 2 or 4 along each axis, and the patterns are orthogonal.
"""

import numpy as np

from nrf_ray.data.planted import glyphs
from nrf_ray.data.planted.draws import Floats, Ints
from nrf_ray.data.planted.parts import Array, Parts, on_lattice
from nrf_ray.data.planted.spec import Planted

CELLS = glyphs.CANVAS
STRIPES = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1]])
"""Signs along one axis, of period 1, 2 and 4: no shift or change of sign turns one pattern into another."""


def human_parts(spec: Planted, classes: Ints, split: str) -> Floats:
    """Return the human part of one image per row, [n, c, 16, 16], showing `classes` [n]."""
    canvas = glyphs.draw(spec.seed, classes, spec.human, split, spec.kind.shape[0])
    return np.repeat(np.repeat(canvas, 2, axis=2), 2, axis=3)


def blank(human: Array) -> Array:
    """Return human parts without a digit: grey."""
    return np.full_like(human, 0.5)


def weaves(classes: int) -> Floats:
    """Return the pattern of each class as signs, [k, 1, 16, 16]."""
    signs = [
        np.kron(np.outer(*(np.resize(STRIPES[i], CELLS) for i in divmod(c, 3))), [[1, -1], [-1, 1]])
        for c in range(classes)
    ]
    return np.stack(signs)[:, None].astype(np.float64)


def noise_parts(spec: Planted, classes: Ints, human: Array) -> Floats:
    """Return the noise part of one image per row, showing `classes` [n], each of l2 norm `spec.noise`."""
    amplitude = on_lattice(spec.noise / np.sqrt(human[0].size))
    return np.broadcast_to(amplitude * weaves(spec.classes)[classes], human.shape)


def take_apart(images: Array, like: Array) -> Parts:
    """Return the parts of images or perturbations [n, c, 16, 16]; `like` is used for texts only."""
    del like
    a, b, c, d = (images[..., i::2, j::2] for i in (0, 1) for j in (0, 1))
    human, noise = np.empty_like(images), np.empty_like(images)
    mean, diagonal = (a + b + c + d) / 4, (a - b - c + d) / 4
    for i in (0, 1):
        for j in (0, 1):
            human[..., i::2, j::2] = mean
            noise[..., i::2, j::2] = diagonal if i == j else -diagonal
    return Parts(human, noise, images - human - noise)


def read_noise(spec: Planted, noise: Array) -> Ints:
    """Return the class whose pattern is nearest to each noise part [n, c, 16, 16]."""
    flat = noise.mean(axis=1, dtype=np.float64).reshape(len(noise), -1)
    read: Ints = (flat @ weaves(spec.classes).reshape(spec.classes, -1).T).argmax(axis=1)
    return read
