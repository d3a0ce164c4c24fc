"""Random views of a batch, made on the batch's device: no data-loading workers, and no copies between devices.

Every image of the batch gets its own view. The changes and their order are those of the authors' library: crop, shift,
flip, jitter, rotation, lighting. Each does what torchvision's function does, but on floats where the library rounds to
8 bits after every change.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from nrf_ray.data.images import as_float
from nrf_ray.training.crops import boxes, crop, draw
from nrf_ray.training.recipes import Augmentation

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the brightness of a pixel."""
PRINCIPAL_COLOURS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
"""Eigenvectors (columns) of ImageNet's colour covariance, for red, green and blue (rows)."""
PRINCIPAL_VARIANCES = (0.2175, 0.0188, 0.0045)
BRIGHTNESS, CONTRAST, SATURATION = range(3)
"""Numbers of the three changes of jitter."""


def augment(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Return a random view of each of `images` [b, c, h, w], sampled with a generator on the same device.

    The views are float32 in [0, 1]. Without crop, uint8 images are shifted and flipped as bytes, a quarter of the work.
    """
    if augmentation.min_area < 1:
        sizes = torch.tensor(images.shape[2:], device=images.device).expand(len(images), 2)
        cut = boxes(sizes, augmentation.min_area, draw(len(images), generator))
        images = crop(as_float(images), cut)
    if augmentation.pad or augmentation.flip:
        images = _shift_and_flip(images, augmentation, generator)
    images = as_float(images)
    if augmentation.jitter:
        strength = augmentation.jitter
        factors = torch.stack([_uniform(images, 1 - strength, 1 + strength, generator) for _ in range(3)], dim=1)
        order = torch.rand(len(images), 3, generator=generator, device=images.device).argsort(dim=1)
        images = jitter(images, factors, order)
    if augmentation.rotation:
        images = rotate(images, _uniform(images, -augmentation.rotation, augmentation.rotation, generator))
    if augmentation.lighting and images.shape[1] == 3:
        images = _light(images, augmentation.lighting, generator)
    return images


def jitter(images: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """Return float `images` [b, c, h, w] with brightness, contrast and saturation multiplied by `factors` [b, 3].

    `order` [b, 3] numbers the changes of each image in the order in which they are made. Contrast is changed about the
    mean brightness of the image, saturation about the grey of each pixel.
    """
    for change in order.unsqueeze(2).unsqueeze(3).unsqueeze(4).unbind(dim=1):
        factor = factors.gather(1, change.flatten(1)).view_as(change)
        grey = _grey(images)
        mean = grey.mean(dim=(1, 2, 3), keepdim=True)
        about = torch.where(change == CONTRAST, mean, grey).masked_fill(change == BRIGHTNESS, 0.0)
        images = (about + (images - about) * factor).clamp(0.0, 1.0)
    return images


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Return each of float `images` [b, c, h, w] turned counter-clockwise about its centre by its `degrees` [b].

    Each pixel is the nearest of the image, zero outside. An average of the four nearest would lose a third of the
    energy of white noise at small angles, and with it much of what D_rand teaches.
    """
    height, width = images.shape[2:]
    angles = degrees.to(images.dtype).view(-1, 1, 1) * (math.pi / 180)
    cos, sin = angles.cos(), angles.sin()
    down, right = (
        torch.arange(size, device=images.device, dtype=images.dtype) - (size - 1) / 2 for size in (height, width)
    )
    down = down.unsqueeze(1)
    grid = torch.stack(
        [(cos * right - sin * down) / (width / 2), (sin * right + cos * down) / (height / 2)],
        dim=3,
    )
    return F.grid_sample(images, grid, mode="nearest", padding_mode="zeros", align_corners=False)


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
