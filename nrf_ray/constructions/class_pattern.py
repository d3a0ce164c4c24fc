"""Class patterns, a leakage-only control: each class has one fixed smooth pattern that carries no feature of any class.

An image gets the pattern of its label t, with the norm that an adversarial perturbation would have. What a student
then knows about the clean test set, it did not learn from adversarial features.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.constructions.controls import remade, spared
from nrf_ray.constructions.craft import Craft, Maker, Setup, Stored, verifies
from nrf_ray.constructions.spec import Features, Storage
from nrf_ray.data.catalogue import info_of
from nrf_ray.data.outline import Kind
from nrf_ray.seeding import derive_seed

if TYPE_CHECKING:
    from torch import Tensor

    from nrf_ray.constructions.crafted import Crafted


class ClassPattern(Craft):
    """Crafting method that adds the pattern of class t, as large as the ball allows; spared images stay clean."""

    spec = ThreatModel
    features: ClassVar[Features] = "pattern"

    def threat(self, spec: ThreatModel) -> ThreatModel:
        """Return the ball, which is the spec itself."""
        return spec

    def make(self, setup: Setup) -> Maker:
        """Return the function that makes rows of one set."""
        config, info = setup.config, info_of(setup.config.dataset)
        patterns = class_patterns(info.num_classes, info.shape, config.craft, config.seed)

        def make(rows: slice) -> "Crafted":
            images, targets = setup.originals.images[rows], setup.targets[rows]
            return craft_pattern(
                images, targets, spared(setup, rows), patterns, config.craft, config.storage, kind=info.kind
            )

        return make


def craft_pattern(
    images: "Tensor",
    targets: "Tensor",
    spared: "Tensor",
    patterns: "Tensor",
    threat: ThreatModel,
    storage: Storage = "uint8",
    *,
    kind: Kind = "images",
) -> "Crafted":
    """Return `images` [b, c, h, w] with the fixed pattern of their target class added; `spared` [b] images stay clean.

    `patterns` [k, c, h, w] come from `class_patterns`. Clipping to the box would shorten the perturbation, so it is
    scaled per example until the clipped perturbation has norm eps (l2), as an adversarial perturbation has. In texts,
    padding gets no pattern.
    """
    import torch

    from nrf_ray.constructions.crafted import unseen
    from nrf_ray.data.images import as_float, stored_as

    originals, added = as_float(images), patterns[targets]
    if kind == "texts":
        added = added * (originals.amax(dim=3, keepdim=True) > 0)
    moved = add_with_norm(originals, added, threat)
    stored = stored_as(torch.where(spared.view(-1, 1, 1, 1), originals, moved), storage)
    return unseen(originals, stored, threat.norm)


def class_patterns(num_classes: int, shape: tuple[int, int, int], threat: ThreatModel, seed: int) -> "Tensor":
    """Return one smooth random pattern of norm eps per class, as [k, c, h, w]; it carries no feature of any class."""
    import torch
    import torch.nn.functional as F

    channels, height, width = shape
    generator = torch.Generator().manual_seed(derive_seed(seed, "patterns"))
    coarse = torch.randn(num_classes, channels, max(2, height // 2), max(2, width // 2), generator=generator)
    smooth = F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
    return threat.eps * threat.ascend(smooth)


def add_with_norm(originals: "Tensor", patterns: "Tensor", threat: ThreatModel) -> "Tensor":
    """Return `originals` plus a multiple of `patterns`, clamped to the box, at distance eps if the box allows it.

    The multiple, at most 8, is found by bisection: per example for l2, per token for l2_token. For linf a pattern needs
    no scaling.
    """
    import torch

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


@verifies(ThreatModel)
def wrong_patterns(stored: Stored) -> Iterator[str]:
    """Yield how the stored images differ from recomputed ones."""
    return remade(ClassPattern(), stored)
