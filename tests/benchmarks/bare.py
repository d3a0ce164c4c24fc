"""What no attack can beat: forward and gradient by the input, over and over, and nothing else.

One step of PGD has to know the gradient at an image. These loops do that and throw the gradient away, so the distance
to them is what projecting, stepping and bookkeeping cost.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse


def bare_loop(model: nn.Module, images: Tensor, targets: Tensor, steps: int) -> Tensor:
    """Take `steps` gradients of the summed loss by `images` [b, c, h, w]; return the last."""
    for _ in range(steps):
        tracked = images.detach().requires_grad_(True)
        loss = F.cross_entropy(model(tracked), targets, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, tracked)
    return gradient


class InBfloat16(nn.Module):
    """A model under autocast, as a user puts it around any attack by hand; its logits are fp32."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        with torch.autocast("cpu", torch.bfloat16):
            logits: Tensor = self.model(images)
        return logits.float()


def folded(model: nn.Module) -> nn.Module:
    """Return `model` with BatchNorm inside its convolutions, by torch.fx: made without any code of ours."""
    return fuse(model.eval()).requires_grad_(False)
