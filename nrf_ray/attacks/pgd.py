"""Projected gradient descent: one loop for every norm, goal and loss.

The loop takes an `nn.Module` that maps images in [0, 1] to logits, and works on its twin (`engine`): the model keeps
its train or eval mode and its parameters, and `param.grad` is never touched. The gradient is of the sum of per-example
losses, and every step is normalised per example, so an example's result does not depend on the rest of its batch.
A caller with many batches passes the model's `engine.twin` instead of the model, so that the twin is made only once.

`mode="fast"` computes gradients and losses in bfloat16. The path differs and its end is as good, so evaluate the result
with the model in float32. `returns="worst_loss"` then gives the iterate with the best bfloat16 loss for the adversary;
another iterate may be better by the float32 loss, because bfloat16 keeps two digits of a loss.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nrf_ray.attacks.losses import LOSSES, Loss, per_example_cross_entropy
from nrf_ray.attacks.specs import Bounds, Returns
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.engine import meter
from nrf_ray.engine.given import check_images, check_labels, check_lengths, check_outputs
from nrf_ray.engine.mode import Mode
from nrf_ray.engine.predict import evaluating
from nrf_ray.engine.twin import channels_last, original, twin
from nrf_ray.errors import ConfigError


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
    start: Tensor | None = None,
    bounds: Bounds = "ball",
    returns: Returns = "last",
    mode: Mode = "faithful",
) -> Tensor:
    """Return adversarial images for `images` [b, c, h, w] in [0, 1], within `threat` (Ilyas et al. 2019, C.5).

    The loss towards `labels` [b] goes down if `targeted` (labels are targets t), otherwise up (labels are true).
    `step_size` is one length for all steps, or a list with one length per step. The loop begins at `start` [b, c, h, w]
    or, without it, at the images themselves. `returns="last"` gives the iterate after all steps; `returns="worst_loss"`
    gives, per example, the iterate that is best for the adversary, the start included, as MadryLab's robustness library
    does by default. With `bounds="box"`, only [0, 1] bounds a step. For `mode="fast"` see the module.

    The result is finite and within ball and box: a pixel whose gradient is NaN does not move. Raises ConfigError for
    images outside [0, 1], labels that the model has no class for, a model that does not return logits [b, k], step
    lengths that are not above 0 or not as many as steps, and a start that is not finite or, if it may be returned
    (`returns="worst_loss"`), not within ball and box.

    The result has the channels of a pixel side by side in memory (`torch.channels_last`), whatever the layout of
    `images`: call `.contiguous()` before a `.view`.
    """
    lengths = check_lengths(step_size, steps)
    check_images(images)
    if len(images) == 0:
        return images.clone()
    network = twin(model, images, mode)
    images = channels_last(images)
    sign = -1.0 if targeted else 1.0
    adversarial = images if start is None else channels_last(_checked_start(start, images, threat, returns))
    best, best_gain = adversarial, None
    loss_of = _checked(loss, original(network), len(images)) if loss in LOSSES.values() else loss
    for length in lengths:
        gradient, losses = input_gradient(network, adversarial, labels, loss_of)
        loss_of = loss  # the model's outputs are checked once
        with torch.no_grad():
            if returns == "worst_loss":
                best, best_gain = _keep_best(best, best_gain, adversarial, sign * losses)
            # A NaN would spread over the whole image for good, so a pixel without a gradient does not move.
            stepped = threat.ascend(gradient.nan_to_num_(nan=0.0), sign * length).add_(adversarial)
            adversarial = threat.project(stepped, images) if bounds == "ball" else stepped.clamp_(0.0, 1.0)
    if returns == "worst_loss":
        with torch.no_grad():
            gain = sign * loss(network(adversarial), labels)
            adversarial, _ = _keep_best(best, best_gain, adversarial, gain)
    meter.count("attacked", len(images))
    meter.count("pgd_steps", len(images) * len(lengths))
    return adversarial.detach()


def _checked_start(start: Tensor, images: Tensor, threat: ThreatModel, returns: Returns) -> Tensor:
    """Return `start`, or raise ConfigError if it could make the result not finite or leave ball or box."""
    if start.shape != images.shape or not bool(start.isfinite().all()):
        raise ConfigError(
            f"an attack starts at finite images of shape {tuple(images.shape)}; these have the shape "
            f"{tuple(start.shape)}, or a pixel that is not finite"
        )
    if returns == "worst_loss" and not bool(threat.holds(start, images).all()):
        raise ConfigError(
            f"an attack that may return its start must begin in [0, 1] and within {threat.norm} {threat.eps:g} of its "
            "images; project the start"
        )
    return start


def _checked(loss: Loss, model: nn.Module, rows: int) -> Loss:
    """Return `loss` with checks of its arguments: logits of `model` for `rows` images, and labels of their classes."""

    def checked(outputs: Tensor, labels: Tensor) -> Tensor:
        check_labels(labels, rows, check_outputs(outputs, model, rows).shape[1])
        return loss(outputs, labels)

    return checked


def input_gradient(
    model: nn.Module, images: Tensor, labels: Tensor, loss: Loss = per_example_cross_entropy
) -> tuple[Tensor, Tensor]:
    """Return the gradient of each example's loss with respect to its image, [b, c, h, w], and the losses, [b].

    Works inside `torch.no_grad()` too. Raises ConfigError if the outputs do not depend on the images by operations that
    have a gradient.
    """
    with torch.enable_grad():
        tracked = images.detach().requires_grad_(True)
        losses = loss(model(tracked), labels)
        if not losses.requires_grad:
            raise ConfigError(
                f"the outputs of the {type(original(model)).__name__} have no gradient with respect to its images; "
                "attack a smooth stand-in of it"
            )
        (gradient,) = torch.autograd.grad(losses.sum(), tracked)
    return gradient, losses.detach()


@contextmanager
def attack_mode(model: nn.Module) -> Iterator[None]:
    """Put `model` into eval mode with frozen parameters; restore every module's and parameter's state at the end."""
    trainable = {parameter: parameter.requires_grad for parameter in model.parameters()}
    model.requires_grad_(False)
    try:
        with evaluating(model):
            yield
    finally:
        for parameter, was_trainable in trainable.items():
            parameter.requires_grad_(was_trainable)


def _keep_best(best: Tensor, best_gain: Tensor | None, candidate: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
    if best_gain is None:
        return candidate.detach(), gain
    better = gain > best_gain
    kept = torch.where(better.view(-1, *[1] * (best.dim() - 1)), candidate.detach(), best)
    return kept, torch.where(better, gain, best_gain)
