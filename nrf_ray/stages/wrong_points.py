"""Learning from adversarial points alone, in two dimensions (Wallace 2019): are the original points learnt as well?

Random points of the unit square have random labels, so there are no features to speak of: a network can only remember
them. If another network that sees nothing but adversarial points with the flipped labels is right on the originals, it
learnt the first network's function.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.seeding import derive_seed
from nrf_ray.stages.costs import OVERHEAD
from nrf_ray.training.recipes import LinearSchedule, Recipe

if TYPE_CHECKING:
    from torch import Tensor, nn

STEP_SECONDS = 6e-4
"""Seconds of one step of such a training on one core, for cost estimates."""

COPIES = 50
"""Copies of the points that an epoch goes through: an epoch of a single step would cost more around it than in it."""


@dataclass(frozen=True, kw_only=True)
class WrongPointsSpec:
    """One draw of points, labels and networks."""

    points: int = 32
    """Number of points."""
    eps: float = 0.12
    """Radius of the adversarial points in linf."""
    attack_steps: int = 50
    """PGD steps, each of 2.5 eps / steps."""
    width: int = 100
    """Units of each of the two hidden layers."""
    steps: int = 1000
    """Steps of each training, in whole epochs of `COPIES` batches; each batch has as many points as there are."""
    lr: float = 0.2
    """Peak learning rate."""
    seed: int
    """Seed of everything that is drawn."""


def _cost(handle: Stage) -> float:
    config: WrongPointsSpec = handle.config
    return OVERHEAD + STEP_SECONDS * (3 * config.steps + config.attack_steps)


@stage(version=1, cost=_cost, on_gpu=False)
def wrong_points(config: WrongPointsSpec, context: Context) -> Metrics:
    """Measure how many original points students are right on: one of adversarial points, and one of its control.

    The control is each of these points moved by eps in both coordinates, each way at random, with the same flipped
    label.
    """
    import torch

    from nrf_ray.attacks.pgd import pgd
    from nrf_ray.engine.predict import predict, share
    from nrf_ray.engine.runtime import prepare

    prepare(context.stage.resources)
    generator = torch.Generator().manual_seed(derive_seed(config.seed, "points"))
    points = torch.rand(config.points, 1, 1, 2, generator=generator)
    labels = torch.randint(2, (config.points,), generator=generator)
    aside = torch.randint(2, points.shape, generator=generator) * 2.0 - 1.0
    first = _fitted(config, points, labels, "first")
    threat, step_size = ThreatModel(norm="linf", eps=config.eps), 2.5 * config.eps / config.attack_steps
    found = pgd(first, points, labels, threat=threat, steps=config.attack_steps, step_size=step_size)
    flipped = predict(first, found) != labels
    moved = threat.project(points + threat.eps * aside, points)
    learnt = {
        name: share(predict(_fitted(config, images[flipped], 1 - labels[flipped], "second"), points) == labels)
        for name, images in (("adversarial", found), ("random", moved))
    }
    return {
        "first_right": share(predict(first, points) == labels),
        "flipped": share(flipped),
        "right_from_adversarial": learnt["adversarial"],
        "right_from_random": learnt["random"],
        "n": config.points,
    }


def _fitted(config: WrongPointsSpec, points: "Tensor", labels: "Tensor", name: str) -> "nn.Module":
    """Return a new network fitted to `points` [n, 1, 1, 2] with `labels` [n]; `name` chooses its initial weights."""
    from nrf_ray.data.images import LabelledImages
    from nrf_ray.models.perceptron import new_perceptron
    from nrf_ray.training.fit import fit

    seed = derive_seed(config.seed, name)
    network = new_perceptron(2, config.width, seed=seed)
    if len(points):
        recipe = Recipe(
            epochs=max(1, config.steps // COPIES),
            lr=config.lr,
            batch_size=len(points),
            weight_decay=0.0,
            schedule=LinearSchedule(warmup=0.05),
        )
        copied = LabelledImages(images=points.repeat(COPIES, 1, 1, 1), labels=labels.repeat(COPIES))
        fit(network, copied, recipe, seed=seed)
    return network.eval()
