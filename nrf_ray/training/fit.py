"""Train a network: one loop for standard and adversarial training.

The training set is on the device if it fits, batches are index lookups, augmentation runs on the device, and nothing in
the loop waits for the device. Adversarial training is the same loop with `perturb=`; with several workers, each of them
runs the same loop. The last iterate is the result, as in the paper; nothing is selected with any test set.

Every epoch samples its order, views and dropout from seeds of its own. So a training that resumes from the state after
an epoch ends with the same bits as a training that was never interrupted.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nrf_ray.attacks.restarts import RunStarts, run_once
from nrf_ray.attacks.specs import Attack
from nrf_ray.data.batches import batches, read_ahead, resident
from nrf_ray.data.images import LabelledImages
from nrf_ray.engine import meter
from nrf_ray.engine.precision import autocast
from nrf_ray.engine.twin import Twin, twin
from nrf_ray.errors import ConfigError
from nrf_ray.graph import headway
from nrf_ray.seeding import derive_seed
from nrf_ray.training.augmentation import augment
from nrf_ray.training.crops import crops_of
from nrf_ray.training.descent import Descent
from nrf_ray.training.recipes import LinearSchedule, Recipe
from nrf_ray.training.workers import Replica, device_of, replica_among

Perturb = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""Function from a model, images in [0, 1] and labels to the images that the model is trained on."""

Snapshot = Callable[[], bytes]
"""Function that returns the state after the epoch that has just finished, for `fit(resume=...)`."""


class Epoch(NamedTuple):
    """Loss and accuracy of one pass over the training set."""

    epoch: int
    """Number of the epoch, from 1."""
    loss: float
    """Mean cross-entropy over the epoch's batches, while training."""
    accuracy: float
    """Accuracy over the epoch's batches, while training."""


def fit(
    model: nn.Module,
    data: LabelledImages,
    recipe: Recipe,
    *,
    seed: int,
    device: str = "cpu",
    perturb: Perturb | None = None,
    on_epoch: Callable[[Epoch, Snapshot], None] = lambda epoch, snapshot: None,
    resume: bytes | None = None,
) -> list[Epoch]:
    """Train `model` in place on `data` by `recipe`, and return its learning curve.

    The order of examples and their augmentation are sampled from `seed`. `perturb` replaces each batch before the step;
    without it, `recipe.adversary` does if there is one. `resume` is a snapshot of an earlier call with the same
    arguments.

    With a recipe of several workers, this is called in each of them with the same arguments. All return the same curve;
    only the first worker calls `on_epoch`.

    Raises:
        ConfigError: the set is smaller than one batch; the device does not support the recipe's mode; or this process
            is not in a group of the recipe's number of workers.
        FloatingPointError: the training diverges.
    """
    if len(data) < recipe.batch_size:
        raise ConfigError(f"{len(data)} training images are fewer than one batch of {recipe.batch_size}")
    replica = replica_among(recipe.workers)
    worker_device = str(device_of(replica, device))
    data = resident(data, worker_device)
    model.to(worker_device).to(memory_format=torch.channels_last)
    loop = _Loop(model, data, recipe, seed, replica, perturb)
    curve = [] if resume is None else _restore(resume, model, loop.descent)
    images = recipe.epochs * (len(data) // recipe.batch_size) * recipe.batch_size
    with headway.loop(recipe.epochs, "epochs", images=images, done=len(curve)) as epochs:
        for epoch in range(len(curve), recipe.epochs):
            with torch.random.fork_rng(devices=[worker_device] if data.labels.is_cuda else []):
                torch.manual_seed(replica.seed(seed, "dropout", epoch))
                curve.append(loop.epoch(epoch))
            epochs.advance(loss=curve[-1].loss, accuracy=curve[-1].accuracy)
            if replica.rank == 0:
                on_epoch(curve[-1], lambda: _snapshot(model, loop.descent, curve))
    model.eval()
    return curve


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Return the learning rate of `step` of `steps`, counted over all epochs."""
    if isinstance(recipe.schedule, LinearSchedule):
        warm = recipe.schedule.warmup * steps
        if step < warm:
            return recipe.lr * (step + 1) / (warm + 1)
        return recipe.lr * (steps - step) / (steps - warm)
    every = recipe.schedule.drop_every
    return recipe.lr * 0.1 ** (step * recipe.epochs // steps // every) if every else recipe.lr


class _Loop:
    """Training loop of one worker: everything that is the same in all epochs."""

    def __init__(
        self,
        model: nn.Module,
        data: LabelledImages,
        recipe: Recipe,
        seed: int,
        replica: Replica,
        perturb: Perturb | None,
    ) -> None:
        self.model, self.data, self.recipe, self.seed, self.replica = model, data, recipe, seed, replica
        self.perturb = perturb
        self.device = data.labels.device
        self.cuts_pictures = data.pictures is not None and recipe.augmentation.min_area < 1
        self.augmentation = replace(recipe.augmentation, min_area=1.0) if self.cuts_pictures else recipe.augmentation
        self.precision = autocast(recipe.mode, self.device.type)
        self.descent = Descent(model.parameters(), recipe)
        self.shared = replica.shared(model)

    def epoch(self, epoch: int) -> Epoch:
        """Train for one pass; `epoch` is counted from 0."""
        recipe, replica = self.recipe, self.replica
        self.model.train()
        replica.level(self.model)
        views, attacks = (
            torch.Generator(self.device).manual_seed(replica.seed(self.seed, what, epoch))
            for what in ("augmentation", "adversary")
        )
        perturb = self.perturb
        if perturb is None and recipe.adversary is not None:
            perturb = _perturb_by(recipe.adversary, RunStarts(generator=attacks))
        order = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch))
        count = len(self.data) // recipe.batch_size
        shuffled = torch.randperm(len(self.data), generator=order)
        chosen = shuffled[: count * recipe.batch_size].view(count, recipe.batch_size)
        sums = torch.zeros(2, device=self.device)
        parts = self.batches([replica.part(batch) for batch in chosen], epoch)
        for step, rows in enumerate(headway.over(parts, "batches", total=count)):
            images = augment(rows.images, self.augmentation, views).contiguous(memory_format=torch.channels_last)
            if perturb is not None:
                images = perturb(self.model, images, rows.labels)
            lr = learning_rate(recipe, epoch * count + step, recipe.epochs * count)
            self.step(lr, images, rows.labels, sums)
            meter.count("trained", len(images))
        loss, correct = replica.total(sums).tolist()
        shown = Epoch(
            epoch=epoch + 1, loss=loss / (count * recipe.workers), accuracy=correct / (count * recipe.batch_size)
        )
        if not math.isfinite(shown.loss):
            raise FloatingPointError(
                f"training diverged: the loss is {shown.loss} in epoch {shown.epoch}; lower the learning rate "
                f"({recipe.lr:g})"
            )
        return shown

    def batches(self, chosen: list[Tensor], epoch: int) -> Iterator[LabelledImages]:
        """Return the batches of the indices `chosen`: images, or random crops of whole pictures."""
        pictures, shape = self.data.pictures, self.data.images.shape[1:]
        if pictures is None or not self.cuts_pictures:
            return batches(self.data, chosen)
        generator = torch.Generator().manual_seed(self.replica.seed(self.seed, "crops", epoch))

        def cut(rows: Tensor) -> Tensor:
            files = [pictures[row] for row in rows.tolist()]
            return crops_of(files, shape, self.recipe.augmentation.min_area, generator, self.data.as_shown)

        return read_ahead(self.data, chosen, cut)

    def step(self, lr: float, images: Tensor, labels: Tensor, sums: Tensor) -> None:
        """Take one step of gradient descent; add the loss and the number of correct predictions before it to `sums`."""
        with self.precision:
            logits: Tensor = self.shared(images)
        loss = F.cross_entropy(logits.float(), labels)
        self.descent.forget_gradients()
        loss.backward()  # type: ignore[no-untyped-call]
        self.descent.step(lr)
        with torch.no_grad():
            sums[0] += loss
            sums[1] += (logits.argmax(1) == labels).sum()


def _perturb_by(adversary: Attack, starts: RunStarts) -> Perturb:
    """Return a function that runs `adversary` on a twin of the model, refreshed with the model's weights per batch."""
    network: Twin | None = None

    def perturb(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        nonlocal network
        if network is None:
            network = twin(model, images, adversary.mode)
        else:
            network.refresh()
        return run_once(adversary, network, images, labels, starts=starts)

    return perturb


def _snapshot(model: nn.Module, descent: Descent, curve: list[Epoch]) -> bytes:
    """Return weights, momentum and curve as safetensors; everything else follows from the seed and the epoch."""
    weights = {f"model.{name}": tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    momenta = {
        f"momentum.{index}": momentum.contiguous().cpu()
        for index, momentum in enumerate(descent.momenta)
        if momentum is not None
    }
    return bytes(safetensors.torch.save(weights | momenta, {"curve": json.dumps(curve)}))


def _restore(snapshot: bytes, model: nn.Module, descent: Descent) -> list[Epoch]:
    """Load the state of `snapshot` into `model` and `descent`; return the curve so far."""
    tensors = safetensors.torch.load(snapshot)
    model.load_state_dict({name[6:]: tensor for name, tensor in tensors.items() if name.startswith("model.")})
    for index, parameter in enumerate(descent.parameters):
        if f"momentum.{index}" in tensors:
            momentum = tensors[f"momentum.{index}"].to(parameter.device)
            descent.momenta[index] = torch.empty_like(parameter).copy_(momentum)
    header = json.loads(snapshot[8 : 8 + int.from_bytes(snapshot[:8], "little")])
    return [Epoch(*values) for values in json.loads(header["__metadata__"]["curve"])]
