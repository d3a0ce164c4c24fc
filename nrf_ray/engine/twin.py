"""What an attack computes on: a twin of a network, made for gradients by its input.

The twin gives the same outputs up to rounding. It is in eval mode, its parameters are frozen, BatchNorm is folded into
the convolutions before it, normalisation is one multiply and add, and convolutions lie channels last. In the mode
"fast" it computes in bfloat16 where that is safe.

A twin has the weights that its network had when it was made; `refresh` it when they have changed.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nrf_ray.engine.mode import Mode
from nrf_ray.engine.precision import autocast
from nrf_ray.errors import ConfigError
from nrf_ray.models.classifier import Classifier
from nrf_ray.models.folding import Pair, fold, foldable, folded_parameters
from nrf_ray.models.stem import FewChannelConv2d

AGREEMENT = 1e-3
"""How far outputs of a folded network may lie apart from the network's, relative to their size: rounding is 1e-6."""


class Twin(nn.Module):
    """The twin of a network, which itself is left as it is."""

    def __init__(self, network: nn.Module, images: Tensor, mode: Mode = "faithful") -> None:
        """`images` [b, c, h, w] have the shape of what it will see; two of them are passed through it.

        All of them are where it takes no two: some networks are made for one size of batch, and serve one attack on
        such a batch, but no restarts, which drop the examples that are fooled already.

        Raises ConfigError where `network` holds what cannot be copied, and where its device has no bfloat16 for the
        mode "fast".
        """
        super().__init__()
        self.mode = mode
        self.precision = autocast(mode, images.device.type)
        self._original = (network,)  # in a tuple, so that it is no part of the twin
        example = channels_last(images[:2].detach())
        self.network = _copied(network, example)
        self.pairs: list[Pair] = []
        with torch.no_grad(), torch.random.fork_rng(devices=[example.device] if example.is_cuda else []):
            try:
                expected = self.network(example)
            except Exception:  # whatever a network says of a batch that it is not made for
                example = channels_last(images.detach())
                expected = self.network(example)
            pairs = foldable(self.network, example)
            fold(self.network, pairs)
            if _agree(self.network(example), expected):
                self.pairs = pairs
            else:  # a defence that draws random numbers, say
                self.network = _copied(network, example)
        _quicken_stem(self.network, example)

    @property
    def original(self) -> nn.Module:
        """The network that this is the twin of."""
        return self._original[0]

    def forward(self, images: Tensor) -> Tensor:
        """Return the network's output, computed as `mode` says."""
        with self.precision:
            output: Tensor = self.network(images)
        return output

    @torch.no_grad()
    def refresh(self) -> None:
        """Take over the weights that the network has now."""
        network = self.original
        folded = {name for pair in self.pairs for name in (f"{pair.conv}.weight", f"{pair.conv}.bias")}
        theirs = {**dict(network.named_parameters(remove_duplicate=False)), **dict(network.named_buffers())}
        for name, own in (*self.network.named_parameters(), *self.network.named_buffers()):
            if name not in folded and own.data_ptr() != theirs[name].data_ptr():
                own.copy_(theirs[name])
        for pair in self.pairs:
            conv = cast(nn.Conv2d, network.get_submodule(pair.conv))
            weight, bias = folded_parameters(conv, cast(nn.BatchNorm2d, network.get_submodule(pair.norm)))
            twins = cast(nn.Conv2d, self.network.get_submodule(pair.conv))
            twins.weight.copy_(weight)
            cast(Tensor, twins.bias).copy_(bias)


def twin(network: nn.Module, images: Tensor, mode: Mode = "faithful") -> Twin:
    """Return the twin of `network` for images like `images` [b, c, h, w]; `network` itself where it is one already.

    Raises ConfigError where `network` is a twin of another mode.
    """
    if not isinstance(network, Twin):
        return Twin(network, images, mode)
    if network.mode != mode:
        raise ConfigError(f"a twin made for the mode {network.mode!r} cannot serve an attack in the mode {mode!r}")
    return network


def original(network: nn.Module) -> nn.Module:
    """Return what `network` is the twin of, which alone judges images; `network` itself where it is none."""
    return network.original if isinstance(network, Twin) else network


def channels_last(images: Tensor) -> Tensor:
    """Return `images` [b, c, h, w] with the channels of a pixel side by side in memory."""
    return images.contiguous(memory_format=torch.channels_last)


def _copied(network: nn.Module, example: Tensor) -> nn.Module:
    """Return a copy in eval mode whose parameters are frozen, and share memory with the network's where they can."""
    shared: dict[int, object] = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in network.parameters()}
    try:
        with _Detaching():
            twin = copy.deepcopy(network, shared)
        twin.eval().to(memory_format=torch.channels_last)
    except (TypeError, RuntimeError) as error:
        raise ConfigError(
            f"an attack works on a copy, and the {type(network).__name__} holds what cannot be copied: {error}"
        ) from error
    for module in twin.modules():
        if isinstance(module, Classifier) and module.mean.shape[1] == example.shape[1]:
            module.fix_normalisation(example)
    return twin


class _Detaching(TorchFunctionMode):
    """Lets tensors be copied that were computed from parameters, as values; torch itself copies none of these.

    A network keeps such tensors where a hook makes its weights before every pass (weight_norm, spectral_norm), and
    where it remembers its activations.
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `function`, but for the copying of such a tensor."""
        if function is not Tensor.__deepcopy__ or args[0].is_leaf:
            return function(*args, **(kwargs or {}))
        tensor, memo = args
        return memo.setdefault(id(tensor), tensor.detach().clone())


def _quicken_stem(network: nn.Module, example: Tensor) -> None:
    """Replace the convolutions of `network` whose gradient by the input has a quicker way."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Conv2d) and FewChannelConv2d.serves(child, example):
                setattr(module, name, FewChannelConv2d.of(child))


def _agree(found: Tensor, expected: Tensor) -> bool:
    size = expected.abs().amax().clamp_min(1e-30)
    return bool(expected.isfinite().all()) and torch.allclose(found / size, expected / size, rtol=0, atol=AGREEMENT)
