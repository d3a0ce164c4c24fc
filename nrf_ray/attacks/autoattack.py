"""AutoAttack, run by the library that packages its authors' code, isolated from the rest of the process.

The library is imported only here. It samples from torch's global generator and has its own logger; while it runs, the
generator's state is saved and the logger is disabled. The library writes no file. Its random numbers depend on an
image's index in the batch: the same images in the same order with the same seed give the same result, and images in
another order may not. The version "few-classes" also runs PGD of ours.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nrf_ray.attacks.pgd import attack_mode
from nrf_ray.attacks.restarts import ExampleStarts, run_batches
from nrf_ray.attacks.specs import AutoAttack
from nrf_ray.engine.clamps import with_straight_clamps
from nrf_ray.engine.given import check_images, check_labels, check_outputs
from nrf_ray.engine.predict import predict
from nrf_ray.errors import ConfigError
from nrf_ray.graph import headway

BATCH = 256
"""Images that the library attacks at a time."""

TARGETS = 9
"""Target classes of the targeted attacks; all wrong classes if there are fewer."""

OURS = "pgd-margin"
"""The part of `ATTACKS` that is not the library's."""
ATTACKS: dict[str, tuple[tuple[str, ...], ...]] = {
    "standard": (("apgd-ce", "apgd-t", "fab-t"), ("square",)),
    "apgd": (("apgd-ce", "apgd-t"),),
    "few-classes": (("apgd-ce",), (OURS,), ("square",)),
}
"""The parts of each version, in their order, by the library's names of their attacks; those that follow gradients come
first."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What AutoAttack found."""

    images: Tensor
    """[n, c, h, w], adversarial images; an image that nothing fooled is unchanged."""
    by_square: Tensor
    """[n], booleans: Square, which sees no gradient, fooled what all attacks by gradients had left."""


def run_autoattack(attack: AutoAttack, model: nn.Module, images: Tensor, labels: Tensor, *, seed: int) -> Found:
    """Return what `attack` finds for `images` [n, c, h, w], float in [0, 1].

    The model must classify all `images` correctly. Raises ConfigError if the extra is not installed, or if the model
    has too few or too many classes for this version.
    """
    try:
        import pyautoattack as library
    except ImportError:
        raise ConfigError("AutoAttack is an extra; install it with: pip install 'nrf_ray[autoattack]'") from None
    check_images(images)
    with attack_mode(model), torch.no_grad():
        classes = check_outputs(model(images[:1]), model, 1).shape[1]
    check_labels(labels, len(images), classes)
    subject = f"the {type(model).__name__}"
    attack.check_fits(classes, images.shape[2], called=attack.name, subject=subject)
    found, by_square = images, torch.zeros_like(labels, dtype=torch.bool)
    with _isolated(model, images.device):
        straight = with_straight_clamps(model, images[:1])
        adversary = _adversary(library, attack, straight, classes, seed % 2**32, images.device)
        for part in headway.over(ATTACKS[attack.version], "attacks"):
            # As the library does by itself, later attacks get the images that are still classified correctly.
            left = (predict(model, found) == labels).nonzero().squeeze(1)
            if len(left) == 0:
                break
            if OURS in part:
                starts = ExampleStarts(seed=seed, indices=left.cpu())
                more = run_batches(attack.margin_pgd, model, images[left], labels[left], starts=starts)
            else:
                adversary.attacks_to_run = list(part)
                more, _ = adversary.run_standard_evaluation(images[left], labels[left], batch_size=BATCH)
            # Pixels that are not finite are the original's, and rounding may put an image just outside the ball.
            more = attack.threat.project(torch.where(more.isfinite(), more, images[left]).detach(), images[left])
            fooled = predict(model, more) != labels[left]
            found = found.index_copy(0, left[fooled], more[fooled])
            if "square" in part:
                by_square[left] = fooled
    return Found(images=found, by_square=by_square)


@contextmanager
def _isolated(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Freeze `model`, and keep the state of torch's generators and of the library's logger."""
    logger = logging.getLogger("auto-attack")
    was_disabled, logger.disabled = logger.disabled, True
    try:
        with attack_mode(model), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        logger.disabled = was_disabled


def _adversary(
    library: Any, attack: AutoAttack, model: nn.Module, classes: int, seed: int, device: torch.device
) -> Any:
    """Return the library's AutoAttack, with no more target classes than there are wrong ones."""
    adversary = library.AutoAttack(
        model,
        norm={"l2": "L2", "linf": "Linf"}[attack.threat.norm],
        eps=attack.threat.eps,
        seed=seed,
        device=str(device),
    )
    for targeted in (adversary.apgd_targeted, adversary.fab):
        targeted.n_target_classes = min(TARGETS, classes - 1)
    return adversary
