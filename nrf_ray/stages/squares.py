"""Adversarial squares (Nakkiran 2019): adversarial examples without any non-robust feature in the data.

An image is plain: all pixels are y = 1 or -1, plus independent uniform noise of half-width `noise`; then, with
probability `label_noise`, its sign is flipped, so that the label is wrong. The sign of the mean pixel predicts as well
as anything can, and no linf perturbation below about 1 changes it. What else a network uses to fit the wrong labels is
noise of single training images.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nrf_ray.errors import ConfigError
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.models.catalogue import ARCHITECTURES
from nrf_ray.seeding import derive_seed
from nrf_ray.stages.costs import ATTACK_SHARE, OVERHEAD, image_seconds
from nrf_ray.training.recipes import Recipe

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class SquaresSpec:
    """One draw of squares, and one network trained on them."""

    side: int = 16
    """Height and width; there are three channels."""
    train: int = 600
    """Training images."""
    test: int = 500
    """Test images."""
    noise: float = 0.1
    """Half-width of the pixels' noise; 0 for none."""
    label_noise: float = 0.1
    """Share of images with the wrong label."""
    eps: float = 0.01
    """Radius of the attack in linf, in the units of the squares."""
    steps: int = 20
    """PGD steps, each of 2.5 eps / steps."""
    arch: str = field(default="resnet_s", metadata=ARCHITECTURES.names)
    """Name of the architecture."""
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=40, lr=0.05, batch_size=100, weight_decay=0.0))
    """Training recipe; the network has to fit the wrong labels, so it is long."""
    seed: int
    """Seed of images and weights."""

    def __post_init__(self) -> None:
        if not 0 <= self.label_noise < 0.5 or self.noise < 0 or self.eps <= 0:
            raise ConfigError(
                "squares need 0 <= label_noise < .5, noise >= 0 and eps > 0, not "
                f"{self.label_noise:g}, {self.noise:g} and {self.eps:g}"
            )

    @property
    def span(self) -> float:
        """Width of the range of pixels: a network sees them moved and scaled to [0, 1]."""
        return 2 * (1 + self.noise)


def _cost(handle: Stage) -> float:
    config: SquaresSpec = handle.config
    per_image = image_seconds(config.arch, (3, config.side, config.side), handle.resources.device)
    return OVERHEAD + per_image * (config.recipe.epochs * config.train + ATTACK_SHARE * config.steps * config.test)


@stage(version=1, cost=_cost)
def squares(config: SquaresSpec, context: Context) -> Metrics:
    """Measure on how many test images an attack within eps changes the network's prediction.

    `accuracy` is against the sign of the square, which is right as often as anything can be; `rule_radius` is the
    largest linf radius within which this rule is constant on every test image.
    """
    from nrf_ray.attacks.pgd import pgd
    from nrf_ray.attacks.threat import ThreatModel
    from nrf_ray.engine.predict import predict, share
    from nrf_ray.engine.runtime import prepare

    device = prepare(context.stage.resources)
    images, labels, _ = drawn(config, "train", config.train)
    tested, _, signs = drawn(config, "test", config.test)
    network, train_accuracy = _fitted(config, images, labels, device)
    tested, signs = tested.to(device), signs.to(device)
    clean = predict(network, tested)
    threat = ThreatModel(norm="linf", eps=config.eps / config.span)
    found = pgd(network, tested, clean, threat=threat, steps=config.steps, step_size=2.5 * threat.eps / config.steps)
    middle = (tested.flatten(1).mean(dim=1) - 0.5).abs() * config.span
    return {
        "train_accuracy": train_accuracy,
        "accuracy": share(clean == signs),
        "flipped": share(predict(network, found) != clean),
        "rule_radius": float(middle.min()),
        "n": config.test,
    }


def drawn(config: SquaresSpec, split: str, n: int) -> "tuple[Tensor, Tensor, Tensor]":
    """Return n squares [n, 3, side, side] scaled to [0, 1], their labels, and the signs that they show, [n] each."""
    import torch

    generator = torch.Generator().manual_seed(derive_seed(config.seed, "squares", split))
    labels = torch.randint(2, (n,), generator=generator)
    wrong = torch.rand(n, generator=generator) < config.label_noise
    noise = (torch.rand(n, 3, config.side, config.side, generator=generator) * 2 - 1) * config.noise
    signs = torch.where(wrong, 1 - labels, labels)
    sign = (2.0 * signs - 1).view(-1, 1, 1, 1)
    # The noise is symmetric, so flipping the sign of an image's noise too, as in the article, changes nothing.
    return ((sign + noise) / config.span + 0.5).clamp(0.0, 1.0), labels, signs


def _fitted(config: SquaresSpec, images: "Tensor", labels: "Tensor", device: str) -> "tuple[nn.Module, float]":
    """Return a network trained on `images`, and its accuracy on their labels."""
    from nrf_ray.data.images import LabelledImages
    from nrf_ray.engine.predict import accuracy
    from nrf_ray.models.zoo import build
    from nrf_ray.training.fit import fit

    seed, middle = derive_seed(config.seed, "network"), (0.5,) * 3
    shape = (3, config.side, config.side)
    network = build(config.arch, shape=shape, num_classes=2, mean=middle, std=middle, seed=seed)
    fit(network, LabelledImages(images=images, labels=labels), config.recipe, seed=seed, device=device)
    return network, accuracy(network, images.to(device), labels.to(device))
