"""How large a network is: parameters, and multiply-adds of one forward pass."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def parameter_count(model: nn.Module) -> int:
    """Return how many trainable numbers `model` has."""
    return sum(parameter.numel() for parameter in model.parameters())


def forward_macs(model: nn.Module, shape: tuple[int, int, int]) -> int:
    """Return the multiply-adds of one forward pass of one image of `shape` (c, h, w) through `model`.

    Those of convolutions and matrix products, that is, as torch's flop counter finds them in what is really called.
    Everything else (normalisation, activations, pooling) is left out, as is usual; so is an LSTM, which the counter
    does not know. The model is left as it was found.
    """
    device = next(model.parameters()).device
    modes = {module: module.training for module in model.modules()}
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.full((1, *shape), 0.5, device=device))  # of a text, every place holds a word
    for module, training in modes.items():
        module.training = training
    return int(counter.get_total_flops()) // 2  # torch counts a multiply-add as two
