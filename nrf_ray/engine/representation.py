"""A classifier up to its representation, with a gradient even if its last ReLU is off."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nrf_ray.models.classifier import Classifier

RELUS = (F.relu, torch.relu, Tensor.relu)


class Representation(nn.Module):
    """A classifier up to its representation, whose last ReLU passes the gradient through unchanged.

    Otherwise units that are off would get no gradient and stay off (`fake_relu` of the released code). The last ReLU is
    found by counting calls, so a network that calls the function instead of the module works too. Values are those of
    the classifier; a network without ReLU is not changed.
    """

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model
        self.relus: int | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Return the representations [b, width]."""
        if self.relus is None:
            with torch.no_grad(), _Relus(replaced=0) as counted:
                self.model.representation(images[:1])
            self.relus = counted.seen
        with _Relus(replaced=self.relus):
            return self.model.representation(images)


class _Relus(TorchFunctionMode):
    """Counter of ReLU calls, from 1, that replaces the call number `replaced`."""

    def __init__(self, replaced: int) -> None:
        super().__init__()
        self.replaced = replaced
        self.seen = 0

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `function`; for the ReLU to replace, call a ReLU with the gradient of the identity."""
        if function in RELUS:
            self.seen += 1
            if self.seen == self.replaced:
                return _IdentityGradientReLU.apply(args[0])
        return function(*args, **(kwargs or {}))


class _IdentityGradientReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.clamp_min(0.0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient
