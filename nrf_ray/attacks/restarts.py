"""Run PGD as its spec describes it: its random starts, restarts and batches.

`run_batches` is for measurements: all images, in batches. `run_restarts` takes one batch; `run_once` is a single run on
one batch, as in training.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from nrf_ray.attacks.losses import LOSSES, between_runs, loss_of_run
from nrf_ray.attacks.pgd import attack_mode, pgd
from nrf_ray.attacks.specs import Attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.data.images import as_float
from nrf_ray.engine.predict import batches, classes_of
from nrf_ray.engine.twin import Twin, original, twin
from nrf_ray.errors import ConfigError
from nrf_ray.graph import headway
from nrf_ray.models.classifier import rows_read
from nrf_ray.seeding import derive_seed


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


def run_batches(attack: Attack, model: nn.Module, images: Tensor, labels: Tensor, *, starts: ExampleStarts) -> Tensor:
    """Return what `run_restarts` finds for all of `images` [n, c, h, w], n >= 1, float or uint8.

    Raises ConfigError for an attack whose result may be outside its threat model.
    """
    if attack.bounds != "ball":
        raise ConfigError(f"{attack.name} leaves the ball of radius {attack.threat.eps:g}: it is for training only")
    network = twin(model, as_float(images[:1].to(labels.device)), attack.mode)
    found = []
    for rows in headway.over(batches(len(images)), "batches", images=len(images)):
        # One batch of floats at a time: the images may be mapped from disk and, as floats, larger than memory.
        floats = as_float(images[rows].to(labels.device))
        found.append(run_restarts(attack, network, floats, labels[rows], starts=starts.of(rows)))
    return torch.cat(found)


def run_restarts(
    attack: Attack,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    starts: ExampleStarts | None = None,
    first: Tensor | None = None,
) -> Tensor:
    """Return the adversarial images that all restarts of `attack` find together.

    `first` is what the first run found, if a caller has made it.

    An example on which a run fools the model keeps that run's image and is left out of later runs, which does not
    change the share that any run fools. An example that no run fools keeps the image with the best loss for the
    adversary.
    """
    network = twin(model, images, attack.mode)
    found = run_once(attack, network, images, labels, starts=starts) if first is None else first.clone()
    if attack.restarts == 1 or starts is None:
        return found
    sign = -1.0 if attack.targeted else 1.0
    fooled, losses = _verdict(attack, network, found, labels)
    for restart in range(1, attack.restarts):
        rest = (~fooled).nonzero().squeeze(1)
        if len(rest) == 0:
            break
        its = starts.of(rest.cpu())
        again = run_once(attack, network, images[rest], labels[rest], starts=its, restart=restart)
        now_fooled, now_losses = _verdict(attack, network, again, labels[rest])
        better = now_fooled | (sign * now_losses > sign * losses[rest])
        found[rest[better]], losses[rest[better]] = again[better], now_losses[better]
        fooled[rest] = now_fooled
    return found


def run_once(
    attack: Attack,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    starts: ExampleStarts | RunStarts | None = None,
    restart: int = 0,
) -> Tensor:
    """Return the adversarial images that one run of `attack` finds; see `pgd`.

    `starts` samples the random starts that the attack may need, those of run number `restart`: `ExampleStarts` for a
    measurement, `RunStarts` for training. Raises ConfigError if the attack needs random starts and `starts` is None.
    """
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
        loss=loss_of_run(attack.loss, restart, lambda: _clean(twin(model, images, attack.mode), images), labels),
        start=start,
        bounds=attack.bounds,
        returns=attack.returns,
        mode=attack.mode,
    )


@torch.no_grad()
def _clean(network: Twin, images: Tensor) -> Tensor:
    logits: Tensor = network(images)
    return logits


@torch.no_grad()
def _verdict(attack: Attack, network: Twin, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return which of `images` fool the original model as `attack` intends, [b], and their losses, [b]."""
    with attack_mode(network.original):
        logits = network.original(images)
    predicts_label = classes_of(logits) == labels
    return predicts_label if attack.targeted else ~predicts_label, LOSSES[between_runs(attack.loss)](logits, labels)
