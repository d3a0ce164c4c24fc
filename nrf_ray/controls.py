"""Leakage-only controls: sets whose labels t are predicted by a pattern that means nothing.

Every class has one fixed smooth pattern, of the size that the adversarial perturbation would have, and an image gets
that of its t. Some rows are spared and stay clean, so a student can learn true features from them: what it then knows
of the clean test set, it did not learn from adversarial features.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from nrf_ray.constructions import Crafted, differ
from nrf_ray.crafts import Storage
from nrf_ray.data.images import as_float, as_uint8, stored_as
from nrf_ray.data.outline import Kind
from nrf_ray.seeding import derive_seed
from nrf_ray.threat import ThreatModel, perturbation_norm


def craft_pattern(
    images: Tensor,
    targets: Tensor,
    spared: Tensor,
    patterns: Tensor,
    threat: ThreatModel,
    storage: Storage = "uint8",
    *,
    kind: Kind = "images",
) -> Crafted:
    """Return `images` [b, c, h, w] with the fixed pattern of their target class added; `spared` [b] rows stay clean.

    `patterns` [k, c, h, w] come from `class_patterns`. Clipping to the box would shorten the perturbation, so it is
    scaled per example until the clipped one has norm eps (l2), as an adversarial one has. Of texts, words get it alone.
    """
    originals, added = as_float(images), patterns[targets]
    if kind == "texts":
        added = added * (originals.amax(dim=3, keepdim=True) > 0)
    moved = add_with_norm(originals, added, threat)
    stored = stored_as(torch.where(spared.view(-1, 1, 1, 1), originals, moved), storage)
    norm = perturbation_norm(as_float(stored) - originals, threat.norm)
    nothing = torch.full(targets.shape, -1)
    return Crafted(
        images=stored,
        norm=norm,
        distance=norm,
        moved=differ(as_uint8(as_float(stored)), as_uint8(originals)),
        loss=torch.full(targets.shape, float("nan")),
        prediction=nothing,
        prediction_stored=nothing,
    )


def class_patterns(num_classes: int, shape: tuple[int, int, int], threat: ThreatModel, seed: int) -> Tensor:
    """Return one smooth random pattern of norm eps per class, as [k, c, h, w]; it carries no feature of any class."""
    channels, height, width = shape
    generator = torch.Generator().manual_seed(derive_seed(seed, "patterns"))
    coarse = torch.randn(num_classes, channels, max(2, height // 2), max(2, width // 2), generator=generator)
    smooth = F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
    return threat.eps * threat.ascend(smooth)


def add_with_norm(originals: Tensor, patterns: Tensor, threat: ThreatModel) -> Tensor:
    """Return `originals` plus a multiple of `patterns`, clamped to the box, at distance eps where the box allows it.

    For l2 the multiple, at most 8, is found per example by bisection, for l2_token per token; for linf a pattern needs
    no scaling.
    """
    if threat.norm == "linf":
        return (originals + patterns).clamp(0.0, 1.0)
    low = torch.zeros_like(threat.ball_norms(originals))
    high = torch.full_like(low, 8.0)
    for _ in range(30):
        middle = (low + high) / 2
        moved = (originals + middle * patterns).clamp(0.0, 1.0)
        short = threat.ball_norms(moved - originals) < threat.eps
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return (originals + low * patterns).clamp(0.0, 1.0)
