"""PNG and JPEG as arrays.

One channel where the first picture of a set is grey, else three. Colour is converted to RGB and transparency dropped,
as torchvision's loader does; orientation tags are not followed, as there. A picture that claims more than 67 million
pixels is refused before it is decoded.
"""

import io
import warnings
from typing import TYPE_CHECKING

from nrf_ray.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

MAX_PIXELS = 2**26
GREY = {"1", "L", "LA"}
COLOUR = {"RGB", "RGBA", "P", "PA", "CMYK", "YCbCr"}


def picture_shape(data: bytes, what: str) -> tuple[int, int, int]:
    """Return channels, height and width of the picture in `data`, which people know as `what`."""
    image = _open(data, what)
    return (1 if image.mode in GREY else 3, image.height, image.width)


def decode(data: bytes, what: str, shape: tuple[int, int, int]) -> "npt.NDArray[np.uint8]":
    """Return the picture in `data` as an array of `shape` (c, h, w), or raise ConfigError where it has another size."""
    image = open_picture(data, what, shape[0])
    if (image.height, image.width) != shape[1:]:
        raise ConfigError(
            f"{what} is {image.width} x {image.height} pixels and the first picture {shape[2]} x {shape[1]}; all "
            "pictures of a set need one size: resize them first"
        )
    return as_array(image)


def open_picture(data: bytes, what: str, channels: int) -> "Image":
    """Return the picture in `data`, decoded, in grey or RGB as `channels` say."""
    image = _open(data, what)
    if channels == 1 and image.mode not in GREY:
        raise ConfigError(
            f"{what} has colours and the first picture is grey; make all pictures of the set one or the other"
        )
    try:
        return image.convert("L" if channels == 1 else "RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise ConfigError(f"{what} is damaged: {error}") from error


def as_array(image: "Image") -> "npt.NDArray[np.uint8]":
    """Return a picture as [c, h, w]."""
    import numpy as np

    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _open(data: bytes, what: str) -> "Image":
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
    except (OSError, SyntaxError, ValueError, Warning, Image.DecompressionBombError) as error:
        raise ConfigError(f"{what} is no PNG or JPEG that can be read: {error}") from error
    if image.width * image.height > MAX_PIXELS:
        raise ConfigError(f"{what} is {image.width} x {image.height} pixels; at most {MAX_PIXELS} pixels are read")
    if image.mode not in GREY | COLOUR:
        raise ConfigError(f"{what} has pixels of type {image.mode}, not 8 bits a channel; convert it first")
    return image
