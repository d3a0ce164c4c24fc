"""Pictures of any size as squares of one size: [size=64,crop=center] behind the path of a set.

A picture is taken as a viewer shows it (`pictures.open_picture`). `crop=center` takes the largest square in its middle,
`crop=none` all of it, which changes the ratio of its sides. Pillow's bilinear filter resizes that part: shrinking
averages over all its pixels, so nothing aliases; smaller pictures are enlarged. The set has three channels if one of
its pictures has colours, and otherwise one.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nrf_ray.data.members import Member
from nrf_ray.data.outline import CENTER, Choices
from nrf_ray.data.readers.pictures import (
    Picture,
    as_array,
    channels_of,
    check_files,
    decode,
    open_picture,
    picture_shape,
    pictures_in,
)
from nrf_ray.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

SIZING = 1
"""Version of how pictures are resized; part of the content digest of sets that are."""


def sized_shape(pictures: Iterable[Picture], choices: Choices) -> tuple[int, int, int]:
    """Return the shape (c, h, w) of a resized set of `pictures`."""
    side = int(choices.size)
    return (channels_of(pictures), side, side)


def shape_of(files: Sequence[Member], choices: Choices) -> tuple[int, int, int]:
    """Return the shape (c, h, w) of a set of `files`: resized by `choices`, or else that of the first."""
    if choices.size:
        return sized_shape(pictures_in(files), choices)
    return picture_shape(Path(files[0].path).read_bytes(), files[0].path)


def checked_shape(where: Path, files: Sequence[Member], choices: Choices) -> tuple[int, int, int]:
    """Return `shape_of` the `files` in `where`; raise ConfigError with all that cannot be read, or have another shape.

    Nothing is decoded.
    """
    return checked_by(lambda shape: check_files(where, files, shape), lambda: shape_of(files, choices), choices)


def checked_by(
    check: Callable[[tuple[int, int, int] | None], None], shape_of: Callable[[], tuple[int, int, int]], choices: Choices
) -> tuple[int, int, int]:
    """Return what `shape_of` returns, after `check` of all pictures: of their shape too, unless they are resized."""
    if choices.size:
        check(None)
        return shape_of()
    try:
        shape = shape_of()
    except ConfigError:
        check(None)  # reports this picture with all others that cannot be read
        raise
    check(shape)
    return shape


def decode_as(data: bytes, what: str, shape: tuple[int, int, int], choices: Choices) -> "npt.NDArray[np.uint8]":
    """Return the picture in `data` as an array of `shape` (c, h, w): resized by `choices`, or else of that size."""
    if not choices.size:
        return decode(data, what, shape)
    return as_array(resized(open_picture(data, what, shape[0], as_shown=True), choices))


def resized(picture: "Image", choices: Choices) -> "Image":
    """Return a picture, grey or RGB, as the square that `choices` ask for."""
    from PIL import ImageOps
    from PIL.Image import Resampling

    size = (int(choices.size), int(choices.size))
    if choices.crop == CENTER:
        return ImageOps.fit(picture, size, Resampling.BILINEAR)
    return picture.resize(size, Resampling.BILINEAR)
