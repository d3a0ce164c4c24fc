"""Stochastic gradient descent with momentum."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from nrf_ray.training.recipes import Recipe


class Descent:
    """`torch.optim.SGD(fused=True)` of a recipe, without the class.

    The class imports torch's compiler, which takes two seconds in every process; torch's function makes the same steps.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], recipe: Recipe) -> None:
        self.parameters, self._recipe = list(parameters), recipe
        self.momenta: list[Tensor | None] = [None] * len(self.parameters)
        """Momentum of each parameter; None before its first step."""

    def forget_gradients(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Move every parameter that has a gradient by one step of the learning rate `lr`."""
        recipe = self._recipe
        moved = [index for index, parameter in enumerate(self.parameters) if parameter.grad is not None]
        momenta = [self.momenta[index] for index in moved]
        sgd(
            [self.parameters[index] for index in moved],
            [gradient for index in moved if (gradient := self.parameters[index].grad) is not None],
            momenta,
            fused=True,
            weight_decay=recipe.weight_decay,
            momentum=recipe.momentum,
            lr=lr,
            dampening=0.0,
            nesterov=recipe.nesterov and recipe.momentum > 0,
            maximize=False,
        )
        for index, momentum in zip(moved, momenta, strict=True):
            self.momenta[index] = momentum
