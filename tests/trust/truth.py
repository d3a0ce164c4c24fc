"""How many adversarial images there are: attacks through the true gradient, transfer, and Square on the defence itself.

An image counts as robust if no attack of all finds an image that the defence itself answers wrongly. So truth is an
upper bound too, found by attacks that know how the defence is broken.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from nrf_ray.attacks.run import run_attack
from nrf_ray.attacks.specs import Attack, AutoAttack, pgd_attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.data.images import LabelledImages
from nrf_ray.statistics.intervals import Interval, wilson_interval
from tests.trust.networks import Networks, examples, networks

RUNS = 6
"""Further runs of PGD through a truth whose answers are the expected ones: each run's images are tried on the defence
itself, which may answer otherwise."""
QUERIES = 1000
"""Queries of Square for each image."""

Answers = Callable[[Tensor], Tensor]
"""Function from images [n, 1, 8, 8] to the classes that a defence answers, [n]."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A defence under the attacks that measure truth."""

    answers: Answers
    """Its answers."""
    module: nn.Module
    """The defence, for queries of its logits."""
    true: nn.Module
    """The module whose gradient the attacks follow."""
    expected: bool
    """Whether its answers are only the expected ones."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Accuracy under all attacks together."""

    interval: Interval
    """Share of the images that are answered rightly after every attack, with its Wilson interval."""
    found: dict[str, int]
    """Images that each attack fooled and none before it, in the order of the attacks."""


def measured(target: Target, data: LabelledImages, threat: ThreatModel) -> Truth:
    """Return the accuracy of `target` on `data` under all attacks within `threat`."""
    left = (target.answers(data.images) == data.labels).nonzero().squeeze(1)
    found: dict[str, int] = {}
    for name, attack in _attacks(target, threat, len(data)):
        if len(left) == 0:
            break
        images = attack(left, data.images[left], data.labels[left])
        fooled = target.answers(images) != data.labels[left]
        found[name] = found.get(name, 0) + int(fooled.sum())
        left = left[~fooled]
    return Truth(interval=wilson_interval(len(left) / len(data), len(data)), found=found)


Craft = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Function from indices, images and labels to adversarial images."""


def _attacks(target: Target, threat: ThreatModel, n: int) -> Iterator[tuple[str, Craft]]:
    """Yield every attack with its name, those that cost nothing first: images found before for the three networks."""
    for source in Networks._fields:
        for images in transferred(source, threat, n):
            yield f"transfer-{source}", lambda rows, _images, _labels, images=images: images[rows]
    if target.true is not networks().base:  # whose images these were
        for spec in gradient_attacks(threat):
            yield (
                spec.name,
                lambda rows, images, labels, spec=spec: run_attack(spec, target.true, images, labels, indices=rows),
            )
    if target.expected:
        for run in range(RUNS):
            spec = pgd_attack(threat.norm, threat.eps, steps=50, start="uniform", loss="margin")
            yield (
                "pgd-runs",
                lambda rows, images, labels, spec=spec, run=run: run_attack(
                    spec, target.true, images, labels, indices=rows, seed=1 + run
                ),
            )
    yield "square", lambda rows, images, labels: square(target.module, images, labels, threat)


def gradient_attacks(threat: ThreatModel) -> tuple[Attack | AutoAttack, ...]:
    """Return the attacks that follow a gradient: PGD with either loss, and APGD."""
    losses = ("cross_entropy", "margin")
    pgds = (pgd_attack(threat.norm, threat.eps, steps=50, restarts=10, loss=loss) for loss in losses)
    return *pgds, AutoAttack(threat=threat, version="apgd")


@cache
def transferred(source: str, threat: ThreatModel, n: int) -> tuple[Tensor, ...]:
    """Return the images that each gradient attack finds for the network `source` of `Networks`, for n test images."""
    data = examples(n)
    network = getattr(networks(), source)
    return tuple(run_attack(spec, network, data.images, data.labels) for spec in gradient_attacks(threat))


def square(module: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel) -> Tensor:
    """Return the images that Square finds by `QUERIES` queries of the logits of `module`."""
    from pyautoattack.square import SquareAttack

    norm = {"l2": "L2", "linf": "Linf"}[threat.norm]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        attack = SquareAttack(module, norm=norm, n_queries=QUERIES, eps=threat.eps, seed=0, device="cpu")
        found = attack.perturb(images, labels)
    return threat.project(torch.where(found.isfinite(), found, images), images)
