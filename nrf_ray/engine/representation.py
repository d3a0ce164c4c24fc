"""A classifier up to its representation, with a gradient even if its last ReLUs are off."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nrf_ray.models.classifier import Classifier

INPLACE = (torch.relu_, Tensor.relu_)
RELUS = (F.relu, torch.relu, Tensor.relu, *INPLACE)


class Representation(nn.Module):
    """A classifier up to its representation, whose last ReLUs pass the gradient through unchanged.

    Otherwise units that are off would get no gradient and stay off (`fake_relu` of the released code). A ReLU is among
    the last if no other ReLU is computed from its output: the last block of an Inception network ends in several
    branches with a ReLU each. They are found by following the calls of one forward pass, so a network that calls the
    function instead of the module works too. Values are those of the classifier; a network without ReLU is not changed.
    """

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model
        self.last: frozenset[int] | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Return the representations [b, width]."""
        if self.last is None:
            self.last = self._last_relus(images[:1])
        with _Relus(replaced=self.last):
            return self.model.representation(images)

    def _last_relus(self, images: Tensor) -> frozenset[int]:
        """Return the numbers of those ReLU calls, from 0, from whose output no other ReLU is computed."""
        with torch.enable_grad(), _Relus() as relus:
            self.model.representation(images.detach().requires_grad_(True))
        earlier = _behind([behind for node in relus.nodes if node for behind, _ in node.next_functions])
        return frozenset(number for number, node in enumerate(relus.nodes) if node and node not in earlier)


class _Relus(TorchFunctionMode):
    """Recorder of ReLU calls; the calls with the numbers `replaced` get the gradient of the identity."""

    def __init__(self, replaced: frozenset[int] = frozenset()) -> None:
        super().__init__()
        self.replaced = replaced
        self.seen = 0
        self.nodes: list[Any] = []
        """Nodes of the calls in the graph of gradients if none is replaced; None for a call without a gradient."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `function`; for a ReLU to replace, call a ReLU with the gradient of the identity."""
        given = kwargs or {}
        if function not in RELUS:
            return function(*args, **given)
        values, *rest = (*args, *(given[name] for name in ("input", "inplace") if name in given))
        inplace = function in INPLACE or any(rest)
        number, self.seen = self.seen, self.seen + 1
        if number in self.replaced:
            return _IdentityGradientReLU.apply(values, inplace)
        found = function(*args, **given)
        if not self.replaced:
            self.nodes.append(found.grad_fn)
        return found


def _behind(nodes: Sequence[Any]) -> set[Any]:
    """Return `nodes` of a graph of gradients and all nodes that were computed before them."""
    found: set[Any] = set()
    left = list(nodes)
    while left:
        node = left.pop()
        if node is not None and node not in found:
            found.add(node)
            left += [behind for behind, _ in node.next_functions]
    return found


class _IdentityGradientReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, inplace: bool) -> Tensor:
        if not inplace:
            return values.clamp_min(0.0)
        ctx.mark_dirty(values)
        return values.clamp_min_(0.0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None
