"""Constructed datasets: images whose new label t only certain features predict (paper section 3.2, and its controls).

Two choices make a construction, and they are independent: how t is drawn (`draw_targets`), and what makes t
predictable. For D_rand, D_det and D_other that is a source model's non-robust features, put in by targeted PGD. For
the leakage-only controls it is a fixed pattern per class that means nothing, of the same norm: what a student learns
from them is not learnt from adversarial features.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nrf_ray.attacks import per_example_cross_entropy, run_attack
from nrf_ray.data.images import as_float, as_uint8
from nrf_ray.evaluation import next_labels
from nrf_ray.seeding import derive_seed
from nrf_ray.specs import Attack, TargetRule
from nrf_ray.threat import ThreatModel, perturbation_norm


class Crafted(NamedTuple):
    """Constructed images as they are stored, with what is known of each."""

    images: Tensor
    """[b, c, h, w], uint8."""
    norm: Tensor
    """[b], size of the stored perturbation in the threat model's norm, pixel units of [0, 1]."""
    moved: Tensor
    """[b], whether the stored image differs from the original at the same 8 bits."""
    loss: Tensor
    """[b], the source's cross-entropy towards t on the stored image; NaN without a source."""
    prediction: Tensor
    """[b], the source's prediction before storage rounding; -1 without a source."""
    prediction_stored: Tensor
    """[b], the source's prediction on the stored image; -1 without a source."""


def draw_targets(rule: TargetRule, labels: Tensor, num_classes: int, seed: int) -> Tensor:
    """Return a new label t for every label y of a whole dataset [n].

    "uniform" draws any class, so t = y for one in k rows (D_rand); "next" is (y + 1) mod k (D_det); "other" draws any
    class but y (D_other). Row i of the result depends on nothing but the seed, i and its label.
    """
    if rule == "next":
        return next_labels(labels, num_classes)
    generator = torch.Generator().manual_seed(derive_seed(seed, "targets"))
    if rule == "uniform":
        return torch.randint(num_classes, labels.shape, generator=generator)
    return (labels + torch.randint(1, num_classes, labels.shape, generator=generator)) % num_classes


def craft_adversarial(model: nn.Module, images: Tensor, targets: Tensor, attack: Attack) -> Crafted:
    """Return `images` [b, c, h, w] moved towards `targets` [b] by the targeted `attack` on the source `model`."""
    assert attack.targeted, "a construction needs a targeted attack"
    originals = as_float(images)
    adversarial = run_attack(attack, model, originals, targets)
    stored = as_uint8(adversarial)
    with torch.no_grad():
        logits = model(as_float(stored))
        prediction = model(adversarial).argmax(1)
    return Crafted(
        images=stored,
        norm=perturbation_norm(as_float(stored) - originals, attack.threat.norm),
        moved=_differ(stored, as_uint8(originals)),
        loss=per_example_cross_entropy(logits, targets),
        prediction=prediction,
        prediction_stored=logits.argmax(1),
    )


def craft_pattern(images: Tensor, labels: Tensor, targets: Tensor, patterns: Tensor, threat: ThreatModel) -> Crafted:
    """Return `images` [b, c, h, w] with the fixed pattern of their target class added; rows with t = y stay clean.

    `patterns` [k, c, h, w] come from `class_patterns`. Clipping to the box would shorten the perturbation, so it is
    scaled per example until the clipped one has norm eps (l2), as an adversarial one has.
    """
    originals = as_float(images)
    changed = (targets != labels).view(-1, 1, 1, 1)
    moved = add_with_norm(originals, patterns[targets], threat)
    stored = as_uint8(torch.where(changed, moved, originals))
    nothing = torch.full(labels.shape, -1)
    return Crafted(
        images=stored,
        norm=perturbation_norm(as_float(stored) - originals, threat.norm),
        moved=_differ(stored, as_uint8(originals)),
        loss=torch.full(labels.shape, float("nan")),
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

    For l2 the multiple, at most 8, is found per example by bisection; for linf a pattern needs no scaling.
    """
    if threat.norm == "linf":
        return (originals + patterns).clamp(0.0, 1.0)
    low, high = originals.new_zeros(len(originals)), originals.new_full((len(originals),), 8.0)
    for _ in range(30):
        middle = (low + high) / 2
        moved = (originals + middle.view(-1, 1, 1, 1) * patterns).clamp(0.0, 1.0)
        short = perturbation_norm(moved - originals, "l2") < threat.eps
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return (originals + low.view(-1, 1, 1, 1) * patterns).clamp(0.0, 1.0)


def _differ(left: Tensor, right: Tensor) -> Tensor:
    return (left != right).flatten(1).any(dim=1)
