"""What attack checks are made on, and what a check says."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from nrf_ray.attacks.run import run_attack
from nrf_ray.attacks.specs import Attack
from nrf_ray.attacks.trust import Curve, Verdict
from nrf_ray.engine.predict import batches, predict
from nrf_ray.seeding import derive_seed


@dataclass(frozen=True, kw_only=True)
class Check:
    """Result of one check."""

    verdict: Verdict
    """PASS, WARN (look at the numbers) or FAIL (the robust accuracy means nothing yet)."""
    numbers: dict[str, float] = field(default_factory=dict)
    """Numbers that the verdict rests on: shares of the examples, unless their name says otherwise."""
    fooled: Tensor | None = field(default=None, compare=False, repr=False)
    """[n], booleans on the CPU: the examples on which the check's attack fooled the model within the ball. None if it
    has no such attack."""
    curves: tuple[Curve, ...] = ()
    """What the check saw on its way, for people; no verdict rests on it."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model, an attack on it, and the examples that the checks use."""

    model: nn.Module
    """Network from images in [0, 1] to logits."""
    images: Tensor
    """[n, c, h, w], float; all classified correctly when clean."""
    labels: Tensor
    """[n], the true labels."""
    indices: Tensor
    """[n], the images' indices in their dataset."""
    attack: Attack
    """The untargeted attack that is checked."""
    seed: int
    """Base seed of all random starts and noise."""
    others: tuple[nn.Module, ...] = ()
    """Other models of the same data, whose adversarial images are tried on this one."""
    pool: Tensor | None = None
    """[m, c, h, w], float or uint8: images that a surrogate learns the model's answers for; None for `images`."""
    curves: bool = False
    """Whether checks that attack at other radii attack all images and one radius more, for the curve of accuracy over
    the radius. No verdict changes."""

    def fooled_by(self, attack: Attack, rows: Tensor, *, model: nn.Module | None = None, salt: str = "") -> Tensor:
        """Return which examples of `rows` [r] are misclassified after `attack`, as booleans [n]; others are False.

        The attack is on `model`, by default the subject's own. `salt` gives it other random starts.
        """
        return self.fooled(self.found_by(attack, rows, model=model, salt=salt), rows)

    def found_by(self, attack: Attack, rows: Tensor, *, model: nn.Module | None = None, salt: str = "") -> Tensor:
        """Return the images that `attack` finds for the examples `rows` [r]; see `fooled_by`."""
        images, labels, indices = self.images[rows], self.labels[rows], self.indices[rows.to(self.indices.device)]
        seed = derive_seed(self.seed, salt) if salt else self.seed
        return run_attack(attack, model or self.model, images, labels, seed=seed, indices=indices)

    def fooled(self, found: Tensor, rows: Tensor) -> Tensor:
        """Return which examples of `rows` [r] are misclassified as `found` [r, c, h, w]: booleans [n] on the CPU."""
        fooled = torch.zeros(len(self.images), dtype=torch.bool)
        fooled[rows.cpu()] = (predict(self.model, found) != self.labels[rows]).cpu()
        return fooled

    @torch.no_grad()
    def outputs(self, images: Tensor) -> Tensor:
        """Return the logits of `images` [n, c, h, w], as float32 [n, k]."""
        return torch.cat([self.model(images[rows]) for rows in batches(len(images))]).float()
