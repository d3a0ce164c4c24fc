"""Train a network: one loop, standard and adversarial alike.

The whole training set lies on the device, batches are index lookups, augmentation runs on the device, and nothing in
the loop waits for it. Adversarial training is the same loop with `perturb=`. The last iterate is the result, as in the
paper; nothing is selected by any test set.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nrf_ray.attacks import run_attack
from nrf_ray.augmentation import augment
from nrf_ray.data.images import LabelledImages, as_float
from nrf_ray.errors import ConfigError
from nrf_ray.seeding import derive_seed
from nrf_ray.specs import Recipe

Perturb = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""From a model, images in [0, 1] and labels to the images that it is trained on."""


class Epoch(NamedTuple):
    """What one pass over the training set showed."""

    epoch: int
    """From 1."""
    loss: float
    """Mean cross-entropy over the epoch's batches, while training."""
    accuracy: float
    """Share of right answers over the epoch's batches, while training."""


def fit(
    model: nn.Module,
    data: LabelledImages,
    recipe: Recipe,
    *,
    seed: int,
    device: str = "cpu",
    perturb: Perturb | None = None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> list[Epoch]:
    """Train `model` in place on `data` by `recipe`, and return its learning curve.

    The order of examples and their augmentation are drawn from `seed`. `perturb` replaces each batch before the step;
    without it, `recipe.adversary` decides. Raises ConfigError where the set is smaller than one batch.
    """
    batches = len(data) // recipe.batch_size
    if batches == 0:
        raise ConfigError(f"{len(data)} training images are less than one batch of {recipe.batch_size}")
    if perturb is None and (adversary := recipe.adversary) is not None:
        perturb = lambda model, images, labels: run_attack(adversary, model, images, labels)  # noqa: E731
    order = torch.Generator().manual_seed(derive_seed(seed, "order"))
    views = torch.Generator(device).manual_seed(derive_seed(seed, "augmentation"))
    data = data.to(device)
    model.to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.momentum > 0,
        foreach=True,
    )
    curve = []
    for epoch in range(recipe.epochs):
        shuffled = torch.randperm(len(data), generator=order).to(device)
        losses, correct = torch.zeros((), device=device), torch.zeros((), device=device)
        for batch in range(batches):
            chosen = shuffled[batch * recipe.batch_size : (batch + 1) * recipe.batch_size]
            images, labels = as_float(data.images[chosen]), data.labels[chosen]
            images = augment(images, recipe.augmentation, views).contiguous(memory_format=torch.channels_last)
            if perturb is not None:
                images = perturb(model, images, labels)
            lr = learning_rate(recipe, epoch * batches + batch, recipe.epochs * batches)
            logits = _step(model, optimizer, lr, images, labels)
            losses += F.cross_entropy(logits, labels)
            correct += (logits.argmax(1) == labels).sum()
        seen = batches * recipe.batch_size
        curve.append(Epoch(epoch=epoch + 1, loss=losses.item() / batches, accuracy=correct.item() / seen))
        if not math.isfinite(curve[-1].loss):
            raise FloatingPointError(
                f"training diverged: the loss is {curve[-1].loss} in epoch {epoch + 1}; lower the learning rate "
                f"({recipe.lr:g}) or raise the warm-up ({recipe.warmup:g})"
            )
        on_epoch(curve[-1])
    model.eval()
    return curve


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Return the learning rate of `step` of `steps`: linear up over the warm-up, linear down to zero after it."""
    warm = recipe.warmup * steps
    if step < warm:
        return recipe.lr * (step + 1) / (warm + 1)
    return recipe.lr * (steps - step) / (steps - warm)


def _step(model: nn.Module, optimizer: torch.optim.SGD, lr: float, images: Tensor, labels: Tensor) -> Tensor:
    """Take one step of gradient descent; return the logits before it."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    logits: Tensor = model(images)
    loss = F.cross_entropy(logits, labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return logits.detach()
