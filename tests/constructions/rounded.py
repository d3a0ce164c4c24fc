"""Labels for tests of constructions, and what storing images at 8 bits may change."""

import math

import torch


def rounding(norm, pixels=64):
    """Return by how much 8-bit storage may change the size of a perturbation."""
    moved = {"l2": pixels, "l2_token": math.sqrt(pixels), "linf": 1}[norm]  # 8x8 pixels: a row is a token of 8
    return math.sqrt(moved) / (2 * 255) + 1e-5


def cycle(n, k=10):
    return torch.arange(n) % k
