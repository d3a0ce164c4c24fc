"""Random crops, resized to the size of an image, as torchvision's RandomResizedCrop makes them.

A crop has a random share of the picture's area and a random aspect ratio, sides 3:4 to 4:3 (Szegedy et al. 2015). A box
is four whole numbers: top, left, height and width.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from nrf_ray.data.readers.pictures import as_array, open_picture

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

ASPECTS = (3 / 4, 4 / 3)
"""Least and largest width of a box, in heights."""
TRIES = 10
"""Boxes that are tried for a picture; if all reach beyond it, the box is the largest in its middle."""


class Draws(NamedTuple):
    """Uniform random numbers in [0, 1) that b boxes are made from, float64."""

    areas: Tensor
    """[TRIES, b]"""
    aspects: Tensor
    """[TRIES, b]"""
    places: Tensor
    """[2, b]: from the top, and from the left."""


def draw(count: int, generator: torch.Generator) -> Draws:
    """Return the random numbers for `count` boxes, sampled with `generator` on its device."""
    drawn = torch.rand(2 * TRIES + 2, count, generator=generator, device=generator.device, dtype=torch.float64)
    return Draws(drawn[:TRIES], drawn[TRIES:-2], drawn[-2:])


def boxes(sizes: Tensor, min_area: float, draws: Draws) -> Tensor:
    """Return a box [b, 4] in each picture; their `sizes` [b, 2] are heights and widths."""
    height, width = sizes.to(torch.float64).unbind(dim=1)
    area = height * width * (min_area + (1 - min_area) * draws.areas)
    low, high = (math.log(aspect) for aspect in ASPECTS)
    aspect = (low + (high - low) * draws.aspects).exp()
    heights, widths = (area / aspect).sqrt().round(), (area * aspect).sqrt().round()
    fit = (heights > 0) & (heights <= height) & (widths > 0) & (widths <= width)
    first = fit.to(torch.int8).argmax(dim=0, keepdim=True)
    found = fit.any(dim=0)
    tall = torch.where(found, heights.gather(0, first)[0], torch.minimum(height, (width / ASPECTS[0]).round()))
    wide = torch.where(found, widths.gather(0, first)[0], torch.minimum(width, (height * ASPECTS[1]).round()))
    spare = torch.stack([height - tall, width - wide])
    corner = torch.where(found, draws.places * (spare + 1), spare / 2).floor()
    return torch.stack([*corner, tall, wide], dim=1).long()


def crop(images: Tensor, boxes: Tensor) -> Tensor:
    """Return what is in the box [b, 4] of each of float `images` [b, c, h, w], resized to [b, c, h, w], bilinear.

    A box is never larger than an image, so nothing is shrunk and no filter against aliasing is needed.
    """
    axes = []
    for axis, size in enumerate(images.shape[2:]):
        first, length = boxes[:, axis, None], boxes[:, axis + 2, None]
        places = (torch.arange(size, device=images.device, dtype=images.dtype) + 0.5) * length / size - 0.5
        pixels = first + torch.minimum(places.clamp_min(0.0), length - 1)
        axes.append((2 * pixels + 1) / size - 1)
    down, right = axes
    shape = (len(images), *images.shape[2:])
    grid = torch.stack([right[:, None, :].expand(shape), down[:, :, None].expand(shape)], dim=3)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def crops_of(
    pictures: Sequence[str],
    shape: Sequence[int],
    min_area: float,
    generator: torch.Generator,
    as_shown: bool = False,
) -> Tensor:
    """Return a random crop of each of the files `pictures`, resized to `shape` (c, h, w), as [b, c, h, w] of uint8.

    Each file is decoded and cut at its own size, `as_shown` by a viewer or as it is stored (`open_picture`); as many
    threads as torch has decode. Raises ConfigError for a file that is not a readable PNG or JPEG.
    """
    import numpy as np

    def opened(picture: str) -> "Image":
        return open_picture(Path(picture).read_bytes(), picture, shape[0], as_shown=as_shown)

    with ThreadPoolExecutor(torch.get_num_threads(), thread_name_prefix="pictures") as readers:
        found = list(readers.map(opened, pictures))
        sizes = torch.tensor([(picture.height, picture.width) for picture in found])
        cut = boxes(sizes, min_area, draw(len(found), generator)).tolist()
        views = list(readers.map(lambda picture, box: view_of(picture, box, shape), found, cut))
    return torch.from_numpy(np.stack(views))


def view_of(picture: "Image", box: Sequence[int], shape: Sequence[int]) -> "npt.NDArray[np.uint8]":
    """Return what is in the `box` of a picture, resized to `shape` (c, h, w), bilinear, filtered if it is shrunk."""
    from PIL.Image import Resampling

    top, left, height, width = box
    part = picture.crop((left, top, left + width, top + height))
    return as_array(part.resize((shape[2], shape[1]), Resampling.BILINEAR))
