"""Targeted PGD: puts the non-robust features of class t into an image (Ilyas et al. 2019, 3.2: D_rand, D_det)."""

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from nrf_ray.attacks.specs import Attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.constructions.craft import Craft, Maker, Setup
from nrf_ray.constructions.spec import Features, Storage

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nrf_ray.constructions.crafted import Crafted


class TargetedPgd(Craft):
    """Crafting method that moves images towards t by PGD on the source, within the ball of the attack."""

    spec = Attack
    features: ClassVar[Features] = "adversarial"

    def threat(self, spec: Attack) -> ThreatModel:
        """Return the ball of the attack."""
        return spec.threat

    def gradients(self, spec: Attack) -> int:
        """Return its number of steps."""
        return spec.steps

    def passes(self, spec: Attack) -> int:
        """Return the passes of the attack."""
        return spec.passes

    def make(self, setup: Setup) -> Maker:
        """Return the function that makes rows of one set."""
        from nrf_ray.constructions.crafted import by_source

        config = setup.config
        return by_source(setup, partial(craft_adversarial, attack=config.craft, storage=config.storage))


def craft_adversarial(
    model: "nn.Module", images: "Tensor", targets: "Tensor", attack: Attack, storage: Storage = "uint8"
) -> "Crafted":
    """Return `images` [b, c, h, w] moved towards `targets` [b] by the targeted `attack` on the source `model`."""
    from nrf_ray.attacks.restarts import run_once
    from nrf_ray.constructions.crafted import seen_by
    from nrf_ray.data.images import as_float
    from nrf_ray.engine.twin import twin

    assert attack.targeted, "a construction needs a targeted attack"
    originals = as_float(images)
    network = twin(model, originals, attack.mode)
    made = run_once(attack, network, originals, targets)
    return seen_by(network.original, originals, made, targets, storage, attack.threat.norm)
