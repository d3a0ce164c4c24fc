#!/usr/bin/env bash
# pyautoattack 0.2.0 (the authors' AutoAttack): after its first draw, Square never changes the last row and the last column
# of an image; in l2, an image of fewer than five rows ends in a ZeroDivisionError.
#
# Guess: a window of side s is put anywhere in the image, so every pixel is tried sooner or later; and images of four rows
#        are images.
# Seen:  the window's place is drawn from 0 to h - s without h - s, so of 8 rows the eighth is in no window unless the window
#        is the whole image. A network that reads only the last row and column is fooled by one pixel of 0.2 in them, and 5000
#        queries do not find it: Square leaves an image that any gradient attack fools. In l2 the first pattern is made of
#        tiles of h // 5 rows, so for h < 5 it divides by zero.
# Fails if that changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-deps pyautoattack==0.2.0
"$work/venv/bin/pip" install --quiet torch==2.14.1 "numpy>=2,<3"
"$work/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import torch
from pyautoattack.square import SquareAttack

print(f"pyautoattack {version('pyautoattack')}, torch {version('torch')}, Python {sys.version.split()[0]}")


class Corner(torch.nn.Module):
    """Two classes, told apart by a weighted sum of the last row or of the first row: the signs alternate."""

    def __init__(self, row, side):
        super().__init__()
        self.weight = torch.zeros(side, side)
        self.weight[row] = torch.tensor([1.0, -1.0] * side)[:side]

    def forward(self, images):
        score = ((images - 0.5) * self.weight).sum(dim=(1, 2, 3))
        return torch.stack([score + 0.9, torch.zeros_like(score)], dim=1)  # eps .2 moves the score by up to 1.6


def left(row, norm="Linf", side=8):
    """Return how many of 64 grey images Square leaves; every one of them can be fooled."""
    images, labels = torch.full((64, 1, side, side), 0.5), torch.zeros(64, dtype=torch.long)
    attack = SquareAttack(Corner(row, side), norm=norm, n_queries=5000, eps=0.2, seed=0, device="cpu")
    with torch.no_grad():
        found = attack.perturb(images, labels)
        return int((Corner(row, side)(found).argmax(1) == labels).sum())


first, last = left(0), left(-1)
print(f"of 64 images that can be fooled, Square leaves {first} if the first row decides, and {last} if the last row does")
assert first == 0, "changed: Square misses images whose first row decides"
assert last > 16, "changed: Square reaches the last row"
try:
    left(0, norm="L2", side=4)
except ZeroDivisionError:
    print("l2, images of 4 rows: ZeroDivisionError")
else:
    raise AssertionError("changed: Square takes images of four rows in l2")
print("as described above")
PYTHON
