"""Projected gradient descent: one loop for every norm, goal and loss.

The loop takes any `nn.Module` that maps images in [0, 1] to logits. It attacks the model in eval mode with frozen
parameters, leaves both as they were, and never touches `param.grad`. The gradient is of the sum of per-example losses
and every step is normalised per example, so the result of an example does not depend on who shares its batch.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nrf_ray.specs import Attack
from nrf_ray.threat import ThreatModel

Loss = Callable[[Tensor, Tensor], Tensor]
"""From logits [b, k] and labels [b] to one loss per example, [b]."""

Returns = Literal["last", "worst_loss"]


def per_example_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of each example, as [b]."""
    return F.cross_entropy(logits.float(), labels, reduction="none")


def pgd(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    threat: ThreatModel,
    steps: int,
    step_size: float | Sequence[float],
    targeted: bool = False,
    loss: Loss = per_example_cross_entropy,
    random_start: torch.Generator | None = None,
    returns: Returns = "last",
) -> Tensor:
    """Return adversarial images for `images` [b, c, h, w] in [0, 1], within `threat` (Ilyas et al. 2019, C.5).

    The loss towards `labels` [b] goes down where `targeted` (labels are targets t), else up (labels are true).
    `step_size` is one length for all steps, or a list of one for each. The start is the image itself, or a random point
    of the ball drawn from `random_start`. `returns="last"` gives the iterate after all steps; `returns="worst_loss"`
    gives, per example, the best for the adversary of all iterates, the start included, as MadryLab's robustness library
    does by default.
    """
    sign = -1.0 if targeted else 1.0
    lengths = [step_size] * steps if isinstance(step_size, float | int) else step_size
    adversarial = images if random_start is None else threat.random_start(images, random_start)
    with attack_mode(model):
        best, best_gain = adversarial, None
        for length in lengths:
            adversarial = adversarial.detach().requires_grad_(True)
            losses = loss(model(adversarial), labels)
            (gradient,) = torch.autograd.grad(losses.sum(), adversarial)
            with torch.no_grad():
                if returns == "worst_loss":
                    best, best_gain = _keep_best(best, best_gain, adversarial, sign * losses)
                stepped = adversarial + (sign * length) * threat.ascend(gradient)
                adversarial = threat.project(stepped, images)
        adversarial = adversarial.detach()
        if returns == "worst_loss":
            with torch.no_grad():
                gain = sign * loss(model(adversarial), labels)
                adversarial, _ = _keep_best(best, best_gain, adversarial, gain)
    return adversarial.detach()


def run_attack(attack: Attack, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the adversarial images that `attack` finds; see `pgd`."""
    return pgd(
        model,
        images,
        labels,
        threat=attack.threat,
        steps=attack.steps,
        step_size=attack.step_size,
        targeted=attack.targeted,
    )


@contextmanager
def attack_mode(model: nn.Module) -> Iterator[None]:
    """Put `model` into eval mode with frozen parameters, and give every module and parameter its own state back."""
    training = {module: module.training for module in model.modules()}
    trainable = {parameter: parameter.requires_grad for parameter in model.parameters()}
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        for module, was_training in training.items():
            module.training = was_training
        for parameter, was_trainable in trainable.items():
            parameter.requires_grad_(was_trainable)


def _keep_best(best: Tensor, best_gain: Tensor | None, candidate: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
    if best_gain is None:
        return candidate.detach(), gain
    better = gain > best_gain
    kept = torch.where(better.view(-1, *[1] * (best.dim() - 1)), candidate.detach(), best)
    return kept, torch.where(better, gain, best_gain)
