"""Pictures of any size as squares of one size: [size=64,crop=center] behind the path of a set.

A picture is taken as a viewer shows it (`pictures.open_picture`). `crop=center` takes the largest square in its middle,
`crop=none` all of it, which changes the ratio of its sides. Pillow's bilinear filter resizes that part: shrinking
averages over all its pixels, so nothing aliases; smaller pictures are enlarged. The set has three channels if one of
its pictures has colours, and otherwise one.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from nrf_ray.data.outline import CENTER, Choices
from nrf_ray.data.readers.pictures import Picture, as_array, channels_of, decode, open_picture

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SIZING = 1
"""Version of how pictures are resized; part of the content digest of sets that are."""


def sized_shape(pictures: Iterable[Picture], choices: Choices) -> tuple[int, int, int]:
    """Return the shape (c, h, w) of a resized set of `pictures`."""
    side = int(choices.size)
    return (channels_of(pictures), side, side)


def decode_as(data: bytes, what: str, shape: tuple[int, int, int], choices: Choices) -> "npt.NDArray[np.uint8]":
    """Return the picture in `data` as an array of `shape` (c, h, w): resized by `choices`, or else of that size."""
    if not choices.size:
        return decode(data, what, shape)
    from PIL import ImageOps
    from PIL.Image import Resampling

    picture, size = open_picture(data, what, shape[0], as_shown=True), (shape[2], shape[1])
    if choices.crop == CENTER:
        return as_array(ImageOps.fit(picture, size, Resampling.BILINEAR))
    return as_array(picture.resize(size, Resampling.BILINEAR))
