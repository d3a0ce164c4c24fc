"""Fold BatchNorm into the convolutions before it, in a network that is only evaluated.

In eval mode BatchNorm scales and shifts each channel by constants, and a convolution can do that for free. One forward
pass is recorded to see which convolution feeds which BatchNorm, so a network need not be traceable. Layers that cannot
be folded stay as they are. If the pass does not reach a part of the network, nothing is folded, because another image
may reach that part.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class Pair(NamedTuple):
    """Names of a convolution, and of the BatchNorm that is the only user of its output."""

    conv: str
    norm: str


def foldable(network: nn.Module, images: Tensor) -> list[Pair]:
    """Return the pairs of `network` that can be folded, as one forward pass of `images` shows them.

    Both modules of a pair are of exactly these classes, have no hooks and one name, and are called once. Nothing else
    uses the convolution's output.
    """
    watch = _Watch()
    with torch.no_grad(), watch:
        network(images)
    convs = _names(network, nn.Conv2d, "weight")
    norms = _names(network, nn.BatchNorm2d, "running_mean")
    pairs: list[Pair] = []
    calls = Counter(tensor for tensor, _ in [*watch.convs, *watch.norms])
    if not convs.keys() | norms.keys() <= calls.keys():
        return pairs
    for weight, output in watch.convs:
        taken_by = [mean for mean, given in watch.norms if given == output]
        alone = len(taken_by) == 1 and watch.uses[output] == 1
        if alone and calls[weight] == calls[taken_by[0]] == 1:
            conv, norm = convs.get(weight, []), norms.get(taken_by[0], [])
            if len(conv) == len(norm) == 1:
                pairs.append(Pair(conv[0], norm[0]))
    return pairs


@torch.no_grad()
def folded_parameters(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the convolution that does what both do in eval mode; computed in float64."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.double()
    bias = -norm.running_mean.double() * scale
    if conv.bias is not None:
        bias = bias + conv.bias.double() * scale
    if norm.affine:
        bias = bias + norm.bias.double()
    weight = conv.weight.double() * scale.view(-1, 1, 1, 1)
    layout = torch.channels_last if _is_channels_last(conv.weight) else torch.contiguous_format
    return weight.to(conv.weight.dtype).contiguous(memory_format=layout), bias.to(conv.weight.dtype)


def fold(network: nn.Module, pairs: Sequence[Pair]) -> None:
    """Change `network` in place: each convolution of `pairs` does what both did, and its BatchNorm does nothing."""
    for pair in pairs:
        conv = cast(nn.Conv2d, network.get_submodule(pair.conv))
        weight, bias = folded_parameters(conv, cast(nn.BatchNorm2d, network.get_submodule(pair.norm)))
        conv.weight = nn.Parameter(weight, requires_grad=False)
        conv.bias = nn.Parameter(bias, requires_grad=False)
        parent, _, name = pair.norm.rpartition(".")
        setattr(network.get_submodule(parent), name, Folded.of(network.get_submodule(pair.norm)))


class Folded(nn.BatchNorm2d):
    """A folded BatchNorm: it keeps its attributes, and returns its input."""

    @classmethod
    def of(cls, norm: nn.Module) -> "Folded":
        """Return a `Folded` with the attributes of `norm`."""
        made = cls.__new__(cls)
        made.__dict__.update(norm.__dict__)
        return made

    def forward(self, images: Tensor) -> Tensor:
        """Return `images`."""
        return images


def _names(network: nn.Module, kind: type[nn.Module], tensor: str) -> dict[int, list[str]]:
    """Return the names of the modules of exactly `kind` without hooks, by the `id` of one of their tensors."""
    names: dict[int, list[str]] = {}
    for name, module in network.named_modules(remove_duplicate=False):
        hooked = module._forward_hooks or module._forward_pre_hooks
        if type(module) is kind and not hooked and getattr(module, tensor) is not None:
            names.setdefault(id(getattr(module, tensor)), []).append(name)
    return names


def _is_channels_last(weight: Tensor) -> bool:
    return weight.is_contiguous(memory_format=torch.channels_last)


class _Watch(TorchFunctionMode):
    """Recorder of every convolution and BatchNorm that is called, and of how often each tensor is used."""

    def __init__(self) -> None:
        super().__init__()
        self.convs: list[tuple[int, int]] = []
        """The `id` of each convolution's weight and output."""
        self.norms: list[tuple[int, int]] = []
        """The `id` of each BatchNorm's running mean and input."""
        self.uses: Counter[int] = Counter()
        self._alive: list[Any] = []
        """All tensors, kept alive so that no `id` is given to another tensor."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `function`, and record the tensors that it takes and returns."""
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        self._alive += [args, kwargs, result]
        if next(_tensors([result]), None) is not None:  # otherwise it only read a size
            self.uses.update(id(value) for value in _tensors([*args, *kwargs.values()]))
        if function is F.conv2d:
            given = {**dict(zip(("input", "weight"), args, strict=False)), **kwargs}
            self.convs.append((id(given["weight"]), id(result)))
        elif function is F.batch_norm:
            given = {**dict(zip(("input", "running_mean"), args, strict=False)), **kwargs}
            self.norms.append((id(given["running_mean"]), id(given["input"])))
        return result


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
