"""Twins of networks, which attacks compute on: copies made for gradients with respect to the input.

A twin gives the same outputs as its network up to rounding. It is in eval mode, its parameters are frozen, BatchNorm is
folded into the convolutions before it, normalisation is one multiply and add, and the memory layout is channels last.
In the mode "fast" it computes in bfloat16 in layers for which that is safe. Clamps have a straight gradient (`clamps`).

A twin has the weights that its network had when the twin was made; call `refresh` after they have changed.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nrf_ray.engine.clamps import StraightClamps
from nrf_ray.engine.given import check_tensor
from nrf_ray.engine.mode import Mode
from nrf_ray.engine.precision import autocast
from nrf_ray.errors import ConfigError
from nrf_ray.models.classifier import Classifier
from nrf_ray.models.folding import Pair, fold, foldable, folded_parameters
from nrf_ray.models.stem import FewChannelConv2d

AGREEMENT = 1e-3
"""Largest difference between the outputs of a folded network and of the network, relative to their size; rounding is
1e-6."""


class Twin(nn.Module):
    """The twin of a network; the network itself is not changed."""

    def __init__(self, network: nn.Module, images: Tensor, mode: Mode = "faithful") -> None:
        """Make the twin for images of the shape of `images` [b, c, h, w]; two of them are passed through it.

        If the network does not take a batch of two, all `images` are passed through it. Some networks are made for one
        batch size: an attack on a batch of that size works, but restarts do not, because they leave out examples that
        are already fooled.

        Raises ConfigError if `network` holds something that cannot be copied, has parameters that are not float32, or
        does not return one tensor, or if its device does not support bfloat16 in the mode "fast".
        """
        super().__init__()
        self.mode = mode
        self.precision = autocast(mode, images.device.type)
        self._original = (network,)  # in a tuple, so that it is not a submodule of the twin
        example = channels_last(images[:2].detach())
        self.network = _copied(network, example)
        self.pairs: list[Pair] = []
        with torch.no_grad(), torch.random.fork_rng(devices=[example.device] if example.is_cuda else []):
            try:
                expected = self.network(example)
            except Exception:  # any error of a network that is not made for a batch of two
                example = channels_last(images.detach())
                expected = _passed(self.network, network, example)
            check_tensor(expected, network)
            with StraightClamps() as clamps:
                self.network(example)
            self.clamps = clamps.used
            pairs = foldable(self.network, example)
            fold(self.network, pairs)
            if _agree(self.network(example), expected):
                self.pairs = pairs
            else:  # for example a defence that samples random numbers
                self.network = _copied(network, example)
        _quicken_stem(self.network, example)

    @property
    def original(self) -> nn.Module:
        """The network that this twin was made from."""
        return self._original[0]

    def forward(self, images: Tensor) -> Tensor:
        """Return the network's output, computed in the twin's mode."""
        with self.precision, StraightClamps() if self.clamps else nullcontext():
            output: Tensor = self.network(images)
        return output

    @torch.no_grad()
    def refresh(self) -> None:
        """Copy the network's current weights into the twin."""
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
    """Return the twin of `network` for images like `images` [b, c, h, w], or `network` itself if it is a twin.

    Raises ConfigError if `network` is a twin of another mode.
    """
    if not isinstance(network, Twin):
        return Twin(network, images, mode)
    if network.mode != mode:
        raise ConfigError(f"a twin made for the mode {network.mode!r} cannot serve an attack in the mode {mode!r}")
    return network


def original(network: nn.Module) -> nn.Module:
    """Return the original network of a twin, or `network` itself if it is not a twin.

    Only the original's predictions count.
    """
    return network.original if isinstance(network, Twin) else network


def channels_last(images: Tensor) -> Tensor:
    """Return `images` [b, c, h, w] with the channels of a pixel side by side in memory."""
    return images.contiguous(memory_format=torch.channels_last)


def _passed(copied: nn.Module, network: nn.Module, example: Tensor) -> object:
    """Return the outputs of a copy of `network`; raise ConfigError if its parameters are of another type of numbers."""
    try:
        return copied(example)
    except RuntimeError as error:
        other = next((p.dtype for p in network.parameters() if p.dtype != example.dtype), None)
        if other is None:
            raise
        raise ConfigError(
            f"the parameters of the {type(network).__name__} are {other}, and images are {example.dtype}; call "
            ".float() of the network"
        ) from error


def _copied(network: nn.Module, example: Tensor) -> nn.Module:
    """Return a copy in eval mode with frozen parameters, which share memory with the network's if they can."""
    shared: dict[int, object] = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in network.parameters()}
    try:
        with _Detaching():
            twin = copy.deepcopy(network, shared)
        twin.eval().to(memory_format=torch.channels_last)
    except (TypeError, RuntimeError) as error:
        raise ConfigError(
            f"an attack works on a copy, and the {type(network).__name__} holds something that cannot be copied: "
            f"{error}"
        ) from error
    for module in twin.modules():
        if isinstance(module, Classifier) and module.mean.shape[1] == example.shape[1]:
            module.fix_normalisation(example)
    return twin


class _Detaching(TorchFunctionMode):
    """Context in which `deepcopy` copies the values of tensors that were computed from parameters; torch refuses to.

    A network keeps such tensors if a hook computes its weights before every pass (weight_norm, spectral_norm), or if it
    stores its activations.
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `function`, or copy the values of such a tensor if it is to be copied."""
        if function is not Tensor.__deepcopy__ or args[0].is_leaf:
            return function(*args, **(kwargs or {}))
        tensor, memo = args
        return memo.setdefault(id(tensor), tensor.detach().clone())


def _quicken_stem(network: nn.Module, example: Tensor) -> None:
    """Replace the convolutions of `network` whose gradient with respect to the input can be computed faster."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Conv2d) and FewChannelConv2d.serves(child, example):
                setattr(module, name, FewChannelConv2d.of(child))


def _agree(found: Tensor, expected: Tensor) -> bool:
    size = expected.abs().amax().clamp_min(1e-30)
    return bool(expected.isfinite().all()) and torch.allclose(found / size, expected / size, rtol=0, atol=AGREEMENT)
