"""Attacks of other libraries as attacks of one's own, one line each.

    attack_function("deepfool")(of_foolbox(foolbox.attacks.L2DeepFoolAttack()))
    attack_function("pgd-ta")(of_torchattacks(lambda model, threat: torchattacks.PGD(model, eps=threat.eps, steps=20)))
    attack_function("apgd-al")(of_adv_lib(functools.partial(adv_lib.attacks.apgd, norm=2)))

Tried with foolbox 3.3.4 (extra `peers`), torchattacks 3.5.1 and adv-lib 0.2.8. An object of a library has a norm of its
own: used with another norm of the threat model, its images are outside the ball and count as not found.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from nrf_ray.attacks.functions import Function
from nrf_ray.attacks.threat import ThreatModel


def of_foolbox(attack: Any) -> Function:
    """Return the attack of foolbox's object `attack`, which takes the radius of the threat model as `epsilons`."""

    def run(
        model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, generator: torch.Generator
    ) -> Tensor:
        import foolbox

        del generator
        _, clipped, _ = attack(
            foolbox.PyTorchModel(model, bounds=(0, 1), device=images.device), images, labels, epsilons=threat.eps
        )
        found: Tensor = clipped
        return found

    return run


def of_torchattacks(make: Callable[[nn.Module, ThreatModel], Any]) -> Function:
    """Return the attack of the object of torchattacks that `make` returns for a model and a threat model."""

    def run(
        model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, generator: torch.Generator
    ) -> Tensor:
        del generator
        found: Tensor = make(model, threat)(images, labels)
        return found

    return run


def of_adv_lib(attack: Callable[..., Tensor]) -> Function:
    """Return the attack of a function of adv-lib, called with model, images, labels and the radius as `eps`."""

    def run(
        model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, generator: torch.Generator
    ) -> Tensor:
        del generator
        return attack(model, images, labels, eps=threat.eps)

    return run
