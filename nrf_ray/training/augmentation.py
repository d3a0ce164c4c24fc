"""Random views of a batch, made on the batch's device: no data-loading workers, and no copies between devices.

Every image of the batch gets its own view. Geometry comes first (crop and rotation in one step, shift, flip), then
colour. The authors' library rotates last, after colour; here crop and rotation resample once. Both are bilinear.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from nrf_ray.data.images import as_float
from nrf_ray.training.recipes import Augmentation

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the brightness of a pixel."""
PRINCIPAL_COLOURS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
"""Eigenvectors (columns) of ImageNet's colour covariance, for red, green and blue (rows)."""
PRINCIPAL_VARIANCES = (0.2175, 0.0188, 0.0045)


def augment(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Return a random view of each of `images` [b, c, h, w], sampled with a generator on the same device.

    The views are float32 in [0, 1]. Without crop and rotation, uint8 images are shifted and flipped as bytes, a quarter
    of the work.
    """
    if augmentation.min_area < 1 or augmentation.rotation:
        images = _crop_and_rotate(as_float(images), augmentation, generator)
    if augmentation.pad or augmentation.flip:
        images = _shift_and_flip(images, augmentation, generator)
    images = as_float(images)
    if augmentation.jitter:
        images = _jitter(images, augmentation.jitter, generator)
    if augmentation.lighting and images.shape[1] == 3:
        images = _light(images, augmentation.lighting, generator)
    return images


def _shift_and_flip(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Shift each image by up to `pad` pixels in each direction, filling with zeros, and mirror half of them.

    Every row of pixels of a view is a run of pixels in the padded image or in its mirror image, so one index lookup
    copies all rows.
    """
    batch, channels, height, width = images.shape
    pad, device = augmentation.pad, images.device
    down = across = side = torch.zeros(batch, dtype=torch.int64, device=device)
    if pad:
        down, across = torch.randint(2 * pad + 1, (2, batch), generator=generator, device=device)
    sides = F.pad(images, (pad, pad, pad, pad)).permute(0, 2, 3, 1).unsqueeze(0)
    if augmentation.flip:
        side = (torch.rand(batch, generator=generator, device=device) < 0.5).long()
        sides = torch.cat([sides, sides.flip(3)])
        across = across + side * (2 * pad - 2 * across)
    pixels = sides.reshape(-1)
    corners = ((side * batch + torch.arange(batch, device=device)) * (height + 2 * pad) + down) * (width + 2 * pad)
    rows = (corners + across).unsqueeze(1) + torch.arange(height, device=device) * (width + 2 * pad)
    length = width * channels
    runs = pixels.as_strided((len(pixels) - length + 1, length), (1, 1))  # the run that begins at each index
    return runs.index_select(0, channels * rows.view(-1)).view(batch, height, width, channels).permute(0, 3, 1, 2)


def _crop_and_rotate(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Crop a random part of each image, rotate it, and resize it to the image's own size; outside is zero."""
    area = _uniform(images, augmentation.min_area, 1.0, generator)
    aspect = _uniform(images, math.log(3 / 4), math.log(4 / 3), generator).exp()
    if augmentation.min_area == 1:
        aspect = torch.ones_like(aspect)
    width, height = (area * aspect).sqrt().clamp(max=1.0), (area / aspect).sqrt().clamp(max=1.0)
    right = (1 - width) * _uniform(images, -1.0, 1.0, generator)
    down = (1 - height) * _uniform(images, -1.0, 1.0, generator)
    angle = _uniform(images, -augmentation.rotation, augmentation.rotation, generator) * (math.pi / 180)
    cos, sin = angle.cos(), angle.sin()
    maps = torch.stack(
        [torch.stack([width * cos, -width * sin, right], 1), torch.stack([height * sin, height * cos, down], 1)], 1
    )
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _jitter(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast (about the mean brightness) and saturation (about grey) of each image."""
    brightness, contrast, saturation = (
        _uniform(images, 1 - strength, 1 + strength, generator).view(-1, 1, 1, 1) for _ in range(3)
    )
    images = (images * brightness).clamp(0.0, 1.0)
    mean = _grey(images).mean(dim=(1, 2, 3), keepdim=True)
    images = (mean + (images - mean) * contrast).clamp(0.0, 1.0)
    grey = _grey(images)
    return (grey + (images - grey) * saturation).clamp(0.0, 1.0)


def _light(images: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Add one random colour to each image, along the principal colours of ImageNet."""
    amounts = deviation * torch.randn(len(images), 3, generator=generator, device=images.device)
    weighted = amounts * images.new_tensor(PRINCIPAL_VARIANCES)
    colours = weighted @ images.new_tensor(PRINCIPAL_COLOURS).T
    return (images + colours.view(-1, 3, 1, 1)).clamp(0.0, 1.0)


def _grey(images: Tensor) -> Tensor:
    if images.shape[1] != 3:
        return images
    return (images * images.new_tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def _uniform(images: Tensor, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(len(images), generator=generator, device=images.device)
