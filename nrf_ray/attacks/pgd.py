"""Projected gradient descent: one loop for every norm, goal and loss.

The loop takes an `nn.Module` that maps images in [0, 1] to logits, and works on its twin (`engine`): the model keeps
its train or eval mode and its parameters, and `param.grad` is never touched. The gradient is of the sum of per-example
losses, and every step is normalised per example, so an example's result does not depend on the rest of its batch.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nrf_ray.attacks.specs import Attack, Bounds, Returns
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.engine import meter
from nrf_ray.engine.mode import Mode
from nrf_ray.engine.twin import Twin, channels_last, original, twin
from nrf_ray.errors import ConfigError, Registry
from nrf_ray.models.classifier import rows_read
from nrf_ray.seeding import derive_seed

Loss = Callable[[Tensor, Tensor], Tensor]
"""Function from logits [b, k] and labels [b] to one loss per example, [b]."""


def per_example_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of each example, as [b]."""
    return F.cross_entropy(logits.float(), labels, reduction="none")


def per_example_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the highest other logit minus the label's, as [b]: above 0 exactly if the label is not predicted."""
    logits = logits.float()
    own = logits.gather(1, labels.unsqueeze(1))
    others = logits.scatter(1, labels.unsqueeze(1), -torch.inf)
    return others.amax(dim=1) - own.squeeze(1)


LOSSES: Registry[Loss] = Registry("loss", {"cross_entropy": per_example_cross_entropy, "margin": per_example_margin})
"""Losses that an `Attack` can optimise, by name."""


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
    does by default. With `bounds="box"`, only [0, 1] bounds a step.

    `mode="fast"` computes gradients and losses in bfloat16. The path differs and its end is as good, so evaluate the
    result with the model in float32. `returns="worst_loss"` then gives the iterate with the best bfloat16 loss for
    the adversary; another iterate may be better by the float32 loss, because bfloat16 keeps two digits of a loss. A
    caller with many batches passes the model's `engine.twin` instead of the model, so that the twin is made only once.

    The result has the channels of a pixel side by side in memory (`torch.channels_last`), whatever the layout of
    `images`: call `.contiguous()` before a `.view`.
    """
    if steps < 1:
        raise ConfigError(f"an attack takes steps >= 1, not {steps}")
    if len(images) == 0:
        return images.clone()
    network = twin(model, images, mode)
    images = channels_last(images)
    sign = -1.0 if targeted else 1.0
    lengths = [step_size] * steps if isinstance(step_size, float | int) else step_size
    adversarial = images if start is None else channels_last(start)
    best, best_gain = adversarial, None
    for length in lengths:
        gradient, losses = input_gradient(network, adversarial, labels, loss)
        with torch.no_grad():
            if returns == "worst_loss":
                best, best_gain = _keep_best(best, best_gain, adversarial, sign * losses)
            stepped = threat.ascend(gradient, sign * length).add_(adversarial)
            adversarial = threat.project(stepped, images) if bounds == "ball" else stepped.clamp_(0.0, 1.0)
    if returns == "worst_loss":
        with torch.no_grad():
            gain = sign * loss(network(adversarial), labels)
            adversarial, _ = _keep_best(best, best_gain, adversarial, gain)
    meter.count("attacked", len(images))
    meter.count("pgd_steps", len(images) * len(lengths))
    return adversarial.detach()


def input_gradient(
    model: nn.Module, images: Tensor, labels: Tensor, loss: Loss = per_example_cross_entropy
) -> tuple[Tensor, Tensor]:
    """Return the gradient of each example's loss with respect to its image, [b, c, h, w], and the losses, [b].

    Works inside `torch.no_grad()` too.
    """
    with torch.enable_grad():
        tracked = images.detach().requires_grad_(True)
        losses = loss(model(tracked), labels)
        (gradient,) = torch.autograd.grad(losses.sum(), tracked)
    return gradient, losses.detach()


@dataclass(frozen=True, kw_only=True)
class ExampleStarts:
    """Random starts that depend on the example alone, not on the batch, the order, the worker or the device."""

    seed: int
    """Base random seed."""
    indices: Tensor
    """Index of each image in the dataset, [b]."""

    def draw(self, threat: ThreatModel, images: Tensor, restart: int, rows: Tensor | None = None) -> Tensor:
        """Return one start per image, sampled on the CPU from (seed, index, restart) alone, within its `rows`."""
        seeds = (derive_seed(self.seed, "start", index, restart) for index in self.indices.tolist())
        ours = [None] * len(images) if rows is None else rows.cpu().unsqueeze(1)
        drawn = [
            threat.random_start(image, torch.Generator().manual_seed(seed), its)
            for seed, image, its in zip(seeds, images.cpu().unsqueeze(1), ours, strict=True)
        ]
        return torch.cat(drawn).to(images.device)

    def of(self, rows: Tensor | slice) -> "ExampleStarts":
        """Return the starts of some of the examples."""
        return replace(self, indices=self.indices[rows])


@dataclass(frozen=True, kw_only=True)
class RunStarts:
    """Random starts of a training run, sampled one after the other from one generator on the images' device."""

    generator: torch.Generator
    """Generator whose state each draw advances."""

    def draw(self, threat: ThreatModel, images: Tensor, restart: int, rows: Tensor | None = None) -> Tensor:
        """Return one start per image, within its `rows`; every call gives new starts."""
        del restart
        return threat.random_start(images, self.generator, rows)


def run_attack(
    attack: Attack, model: nn.Module, images: Tensor, labels: Tensor, *, starts: ExampleStarts | RunStarts | None = None
) -> Tensor:
    """Return the adversarial images that one run of `attack` finds; see `pgd` and `run_restarts`.

    `starts` samples the random starts that the attack may need: `ExampleStarts` for a measurement, `RunStarts` for
    training. Raises ConfigError if the attack needs random starts and `starts` is None.
    """
    return _run(attack, model, images, labels, starts, restart=0)


def run_restarts(
    attack: Attack, model: nn.Module, images: Tensor, labels: Tensor, *, starts: ExampleStarts | None = None
) -> Tensor:
    """Return the adversarial images that all restarts of `attack` find together.

    An example on which a run fools the model keeps that run's image and is left out of later runs, which does not
    change the share that any run fools. An example that no run fools keeps the image with the best loss for the
    adversary.
    """
    network = twin(model, images, attack.mode)
    found = run_attack(attack, network, images, labels, starts=starts)
    if attack.restarts == 1 or starts is None:
        return found
    sign = -1.0 if attack.targeted else 1.0
    fooled, losses = _verdict(attack, network, found, labels)
    for restart in range(1, attack.restarts):
        rest = (~fooled).nonzero().squeeze(1)
        if len(rest) == 0:
            break
        again = _run(attack, network, images[rest], labels[rest], starts.of(rest.cpu()), restart)
        now_fooled, now_losses = _verdict(attack, network, again, labels[rest])
        better = now_fooled | (sign * now_losses > sign * losses[rest])
        found[rest[better]], losses[rest[better]] = again[better], now_losses[better]
        fooled[rest] = now_fooled
    return found


def _run(
    attack: Attack,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    starts: ExampleStarts | RunStarts | None,
    restart: int,
) -> Tensor:
    start = None
    if attack.start != "image":
        if starts is None:
            raise ConfigError(f"attack {attack.name} starts at random points; give `starts` to sample them")
        start = starts.draw(attack.start_threat, images, restart, rows_read(original(model), images))
    return pgd(
        model,
        images,
        labels,
        threat=attack.threat,
        steps=attack.steps,
        step_size=attack.step_size,
        targeted=attack.targeted,
        loss=LOSSES[attack.loss],
        start=start,
        bounds=attack.bounds,
        returns=attack.returns,
        mode=attack.mode,
    )


@torch.no_grad()
def _verdict(attack: Attack, network: Twin, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return which of `images` fool the original model as `attack` intends, [b], and their losses, [b]."""
    with attack_mode(network.original):
        logits = network.original(images)
    predicts_label = logits.argmax(1) == labels
    return predicts_label if attack.targeted else ~predicts_label, LOSSES[attack.loss](logits, labels)


@contextmanager
def attack_mode(model: nn.Module) -> Iterator[None]:
    """Put `model` into eval mode with frozen parameters; restore every module's and parameter's state at the end."""
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
