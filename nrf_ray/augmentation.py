"""Random views of a batch, made on the device that holds it: no workers, no images that go back and forth."""

import torch
import torch.nn.functional as F
from torch import Tensor

from nrf_ray.specs import Augmentation


def augment(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Return a random view of each image of [b, c, h, w], drawn from a generator on the same device."""
    if augmentation.pad:
        images = _shift(images, augmentation.pad, generator)
    if augmentation.flip:
        flipped = torch.rand(len(images), generator=generator, device=images.device) < 0.5
        images = torch.where(flipped.view(-1, 1, 1, 1), images.flip(3), images)
    return images


def _shift(images: Tensor, pad: int, generator: torch.Generator) -> Tensor:
    """Shift each image by up to `pad` pixels in each direction, filling with zeros."""
    batch, _, height, width = images.shape
    offsets = torch.randint(2 * pad + 1, (2, batch, 1), generator=generator, device=images.device)
    rows = offsets[0] + torch.arange(height, device=images.device)
    columns = offsets[1] + torch.arange(width, device=images.device)
    examples = torch.arange(batch, device=images.device).view(-1, 1, 1)
    padded = F.pad(images, (pad, pad, pad, pad)).permute(0, 2, 3, 1)
    return padded[examples, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)
