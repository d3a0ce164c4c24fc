"""The readable part of a planted image: a digit in one of two sizes, anywhere, on a lighter or a darker ground.

In colour images the ground and the digit have any colours. The canvas has 8x8 cells; the digits 0 to 7 are drawn by
hand in 3x5 and in 5x7 cells.
"""

import numpy as np

from nrf_ray.data.planted.draws import Floats, Ints, below, uniform
from nrf_ray.data.planted.parts import on_lattice

CANVAS = 8
MARGIN = 1 / 16
"""Least distance of every cell from 0 and 1, so that there is room for the noise part."""

SMALL = """
### .#. ### ### #.# ### #.. ###
#.# ##. ..# ..# #.# #.. #.. ..#
#.# .#. ### .## ### ### ### .#.
#.# .#. #.. ..# ..# ..# #.# .#.
### ### ### ### ..# ### ### .#.
"""

LARGE = """
.###. ..#.. .###. .###. ...#. ##### .###. #####
#...# .##.. #...# #...# ..##. #.... #.... ....#
#...# ..#.. ....# ....# .#.#. ####. #.... ...#.
#...# ..#.. ..##. ..##. #..#. ....# ####. ..#..
#...# ..#.. .#... ....# ##### ....# #...# ..#..
#...# ..#.. #.... #...# ...#. #...# #...# .#...
.###. .###. ##### .###. ...#. .###. .###. .#...
"""


def draw(seed: int, classes: Ints, norm: float, split: str, channels: int) -> Floats:
    """Return one canvas per row, [n, c, 8, 8], with the digit `classes` [n] on a ground.

    The digit minus the ground has the l2 norm `norm` / 2, since an image shows each cell as 2x2 pixels. Size and
    position are sampled per row. The ground, whether the digit is lighter or darker, and how much it differs from the
    ground are sampled per channel; the difference in one channel is at most twice that in another, so that the digit
    can be read in each channel.
    """
    n, rows = len(classes), np.arange(len(classes))
    large = uniform(seed, n, split, "size") < 0.5
    masks = np.where(large[:, None, None], _stencils(LARGE)[classes], _stencils(SMALL)[classes])
    down = below(seed, n, np.where(large, 2, 4), split, "down")
    right = below(seed, n, np.where(large, 4, 6), split, "right")
    i, j = np.meshgrid(np.arange(CANVAS), np.arange(CANVAS), indexing="ij")
    placed = masks[rows[:, None, None], (i - down[:, None, None]) % CANVAS, (j - right[:, None, None]) % CANVAS]
    whole = norm / 2 / np.sqrt(masks.sum(axis=(1, 2)))
    shares = 1 - _by_channel(seed, n, channels, split, "hue") / 2  # with one channel, its share becomes 1 below
    strength = on_lattice(whole[:, None] * shares / np.sqrt(np.square(shares).sum(axis=1, keepdims=True)))
    sign = np.where(_by_channel(seed, n, channels, split, "lighter") < 0.5, 1.0, -1.0)
    free = 1 - 2 * MARGIN - strength
    lowest = on_lattice(MARGIN + free * _by_channel(seed, n, channels, split, "ground"))
    ground = lowest + np.where(sign > 0, 0.0, strength)
    drawn: Floats = ground[..., None, None] + (sign * strength)[..., None, None] * placed[:, None]
    return drawn


def _by_channel(seed: int, n: int, channels: int, split: str, name: str) -> Floats:
    """Return n numbers per channel, [n, c]; those of the first channel are the same as in a grey image."""
    others = [uniform(seed, n, split, name, str(channel)) for channel in range(1, channels)]
    return np.stack([uniform(seed, n, split, name), *others], axis=1)


def _stencils(drawn: str) -> Floats:
    """Return the digits as masks [8, 8, 8] of 0 and 1, each in the upper left corner of its canvas."""
    lines = [line.split() for line in drawn.split("\n") if line]
    masks = np.zeros((len(lines[0]), CANVAS, CANVAS))
    for row, line in enumerate(lines):
        for digit, cells in enumerate(line):
            masks[digit, row, : len(cells)] = [cell == "#" for cell in cells]
    return masks
