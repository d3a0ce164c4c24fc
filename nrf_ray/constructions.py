"""Constructed datasets: images whose labels t only certain features predict (paper sections 3.1 and 3.2).

Two choices make a construction, and they are independent: how t is drawn (`draw_targets`), and what makes t
predictable. For D_rand, D_det and D_other that is a source model's non-robust features, put in by targeted PGD. For D_R
and D_NR, where t = y, it is what a source represents, put in by matching (`matching`). For the leakage-only controls it
is a pattern that means nothing (`controls`).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from nrf_ray.attacks.hotflip import Lexicon, substitute
from nrf_ray.attacks.pgd import attack_mode, per_example_cross_entropy, run_attack
from nrf_ray.attacks.specs import Attack, Substitution
from nrf_ray.attacks.threat import Norm, l2_norm, perturbation_norm
from nrf_ray.crafts import Matching, Storage, TargetRule
from nrf_ray.data.images import as_float, as_uint8, stored_as
from nrf_ray.engine.predict import next_labels
from nrf_ray.engine.twin import twin
from nrf_ray.matching import match_representation, residual
from nrf_ray.models.classifier import Classifier
from nrf_ray.seeding import derive_seed


class Crafted(NamedTuple):
    """Constructed images as they are stored, with what is known of each."""

    images: Tensor
    """[b, c, h, w], uint8 or float32."""
    norm: Tensor
    """[b], how far the stored image lies from where it started, in the threat model's norm, pixel units of [0, 1]."""
    distance: Tensor
    """[b], how far it lies from the image whose label it was made for: the same, except for D_R and D_NR."""
    moved: Tensor
    """[b], whether the stored image differs from its start at 8 bits."""
    loss: Tensor
    """[b], on the stored image: the source's cross-entropy towards t, or the relative distance of the representations
    (D_R, D_NR); NaN where no source was used."""
    prediction: Tensor
    """[b], the source's prediction before storage rounding; -1 where no source was used."""
    prediction_stored: Tensor
    """[b], the source's prediction on the stored image; -1 where no source was used."""


def draw_targets(rule: TargetRule, labels: Tensor, num_classes: int, seed: int) -> Tensor:
    """Return the label t for every label y of a whole dataset [n].

    "same" is y (D_R, D_NR); "uniform" draws any class, so t = y for one in k rows (D_rand); "next" is (y + 1) mod k
    (D_det); "other" draws any class but y (D_other). Row i of the result depends on nothing but the seed, i and y.
    """
    if rule == "same":
        return labels
    if rule == "next":
        return next_labels(labels, num_classes)
    generator = torch.Generator().manual_seed(derive_seed(seed, "targets"))
    if rule == "uniform":
        return torch.randint(num_classes, labels.shape, generator=generator)
    return (labels + torch.randint(1, num_classes, labels.shape, generator=generator)) % num_classes


def craft_adversarial(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    attack: Attack | Substitution,
    storage: Storage = "uint8",
    *,
    words: Lexicon | None = None,
) -> Crafted:
    """Return `images` [b, c, h, w] moved towards `targets` [b] by the targeted `attack` on the source `model`.

    A substitution chooses from `words`, and its norm is l2. What the source makes of the images is worked out in
    float32, whatever the mode of the attack.
    """
    assert attack.targeted, "a construction needs a targeted attack"
    originals = as_float(images)
    network = twin(model, originals, attack.mode)
    model = network.original
    measured_in: Norm = "l2"
    if isinstance(attack, Substitution):
        assert words is not None, "a substitution needs the words of the dataset"
        adversarial = substitute(network, originals, targets, attack, words)
    else:
        adversarial, measured_in = run_attack(attack, network, originals, targets), attack.threat.norm
    stored = stored_as(adversarial, storage)
    with attack_mode(model), torch.no_grad():
        logits = model(as_float(stored))
        prediction = model(adversarial).argmax(1)
    norm = perturbation_norm(as_float(stored) - originals, measured_in)
    return Crafted(
        images=stored,
        norm=norm,
        distance=norm,
        moved=differ(as_uint8(adversarial), as_uint8(originals)),
        loss=per_example_cross_entropy(logits, targets),
        prediction=prediction,
        prediction_stored=logits.argmax(1),
    )


def craft_matched(
    model: Classifier, images: Tensor, starts: Tensor, matching: Matching, storage: Storage = "uint8"
) -> Crafted:
    """Return `starts` [b, c, h, w] moved until the source `model` represents them as it does `images` [b, c, h, w].

    Norm and distance are l2 whatever the sweep's threat model, because no ball bounds them.
    """
    originals, origins = as_float(images), as_float(starts)
    matched = match_representation(model, originals, origins, matching)
    stored = stored_as(matched, storage)
    with attack_mode(model), torch.no_grad():
        prediction, prediction_stored = model(matched).argmax(1), model(as_float(stored)).argmax(1)
    return Crafted(
        images=stored,
        norm=l2_norm(as_float(stored) - origins),
        distance=l2_norm(as_float(stored) - originals),
        moved=differ(as_uint8(matched), as_uint8(origins)),
        loss=residual(model, as_float(stored), originals),
        prediction=prediction,
        prediction_stored=prediction_stored,
    )


def differ(left: Tensor, right: Tensor) -> Tensor:
    """Return whether two batches of images differ in any pixel, as [b]."""
    return (left != right).flatten(1).any(dim=1)
