"""PNG and JPEG as arrays.

They have one channel if the first picture of a set is grey, and otherwise three. As in torchvision's loader, colour is
converted to RGB, transparency is dropped, and orientation tags are ignored. Sets whose pictures are resized (`sized`)
are read as a viewer shows them instead: turned by their orientation tags, transparent parts over white. A picture is
refused before it is decoded if its header claims more than 67 million pixels, or more than 8 bits per channel, whose
lower bits would be lost.
"""

import io
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nrf_ray.data.members import Member, listed
from nrf_ray.data.readers.beginnings import kind_of
from nrf_ray.data.readers.headers import Header, header_of
from nrf_ray.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

HEAD = 2**16
"""Bytes of a file in which its header is searched first."""
MAX_PIXELS = 2**26
ADDRESS = re.compile(r"<[^<>]* object at 0x\w+>")
GREY = {"1", "L", "LA"}
FIRST = "the first picture"
ORIENTATION = 0x0112
"""Tag of EXIF."""
TURNED = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
"""Pillow's `Transpose` that turns a picture upright, by its orientation; 1 is upright. `ImageOps.exif_transpose` writes
the other tags again too, which fails for many a camera's."""
COLOUR = {"RGB", "RGBA", "P", "PA", "CMYK", "YCbCr"}


class UnusablePictures(ConfigError):
    """Pictures of which some cannot be used, as their bytes alone show."""


def picture_shape(data: bytes, what: str) -> tuple[int, int, int]:
    """Return channels, height and width of the picture in `data`, which errors call `what`."""
    image = _open(data, what)
    return (1 if image.mode in GREY else 3, image.height, image.width)


def decode(data: bytes, what: str, shape: tuple[int, int, int]) -> "npt.NDArray[np.uint8]":
    """Return the picture in `data` as an array of `shape` (c, h, w). Raises ConfigError if it has another size."""
    image = open_picture(data, what, shape[0])
    if (image.height, image.width) != shape[1:]:
        raise ConfigError(
            f"{what} {_other_size((image.height, image.width), shape)}; all pictures of a set need the same size"
        )
    return as_array(image)


def open_picture(data: bytes, what: str, channels: int, *, as_shown: bool = False) -> "Image":
    """Return the picture in `data`, decoded, in grey (`channels` 1) or RGB (3); `as_shown` by a viewer, or as it is."""
    image = _open(data, what)
    if channels == 1 and image.mode not in GREY:
        raise ConfigError(
            f"{what} has colours and the first picture is grey; make all pictures of the set one or the other"
        )
    try:
        return (_as_shown(image) if as_shown else image).convert("L" if channels == 1 else "RGB")
    except Exception as error:  # what Pillow raises for a damaged picture is not documented
        raise ConfigError(f"{what} is damaged: {_line(error)}") from error


def _as_shown(image: "Image") -> "Image":
    """Return a picture turned by its orientation tag, with its transparent parts over white."""
    from PIL import Image

    orientation = image.getexif().get(ORIENTATION)
    if orientation in TURNED:
        image = image.transpose(Image.Transpose(TURNED[orientation]))
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image


def as_array(image: "Image") -> "npt.NDArray[np.uint8]":
    """Return a picture as [c, h, w]."""
    import numpy as np

    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def check_files(where: Path, files: Sequence[Member], shape: tuple[int, int, int] | None) -> None:
    """Raise ConfigError with count and names of those `files` in `where` that are not pictures of `shape` (c, h, w).

    Only headers are read; nothing is decoded. If `shape` is None, any size and any colours are accepted.
    """
    refuse(where, list(problems(pictures_in(files), shape)), len(files), shape, lambda: pictures_in(files))


class Picture(NamedTuple):
    """A picture and its header."""

    name: str
    data: bytes
    """Content of the file; empty if the header was read without the rest."""
    header: Header | None
    """Header of the picture; None if it could not be read, so that Pillow decides."""


def problems(pictures: Iterable[Picture], shape: tuple[int, int, int] | None, whose: str = FIRST) -> Iterator[str]:
    """Yield name and fault of those `pictures` that are not of `shape`, the shape of `whose` (as errors name it)."""
    for picture in pictures:
        if fault := _fault(picture, shape, whose):
            yield f"{picture.name} {fault}"


def refuse(
    where: Path,
    found: Sequence[str],
    total: int,
    shape: tuple[int, int, int] | None,
    pictures: Callable[[], Iterator[Picture]],
) -> None:
    """Raise UnusablePictures if some of `total` pictures in `where` have problems (`found`).

    If more than half have another shape than `shape`, the most common shape is taken, and the minority is reported.
    """
    if not found:
        return
    if shape and 2 * len(found) > total:
        shapes = Counter(picture.header[:3] for picture in pictures() if picture.header)
        usual = shapes.most_common(1)[0][0] if shapes else shape
        found = [*problems(pictures(), usual, "most pictures")] or found
    one_size = (
        "write [size=64,crop=center] behind the path to read pictures of any size and colour as squares of 64 pixels, "
        "convert those of more than 8 bits per channel"
    )
    raise UnusablePictures(
        f"{where}: {len(found)} of {total} pictures cannot be used: {listed(found)}; "
        f"{one_size if shape else 'convert them'}, or remove them"
    )


def channels_of(pictures: Iterable[Picture]) -> int:
    """Return the channels of a set of `pictures`: 3 if one of them has colours, otherwise 1. Reads up to the first."""
    shapes = (picture.header or picture_shape(picture.data, picture.name) for picture in pictures)
    return 3 if any(shape[0] == 3 for shape in shapes) else 1


def pictures_in(files: Iterable[Member]) -> Iterator[Picture]:
    """Yield `files` with their headers."""
    return (Picture("/".join(file.parts), *_read_header(file.path)) for file in files)


def _fault(picture: Picture, shape: tuple[int, int, int] | None, whose: str) -> str:
    """Return what is wrong with a picture; empty if it can be used."""
    header = picture.header
    if header is None:
        try:
            header = Header(*picture_shape(picture.data, "it"), 8)
        except ConfigError as error:
            return str(error).removeprefix("it ")
    if header.bits > 8:
        return f"has {header.bits} bits per channel"
    if not 0 < header.width * header.height <= MAX_PIXELS:
        return f"is {header.width} x {header.height} pixels; 1 to {MAX_PIXELS} pixels are read"
    if shape and (header.height, header.width) != shape[1:]:
        return _other_size((header.height, header.width), shape, whose)
    return f"has colours and {whose} is grey" if shape and header.channels > shape[0] else ""


def _other_size(found: tuple[int, int], shape: tuple[int, int, int], whose: str = FIRST) -> str:
    return f"is {found[1]} x {found[0]} pixels and {whose} {shape[2]} x {shape[1]}"


def _read_header(path: str) -> tuple[bytes, Header | None]:
    """Return the header of a file, and its whole content if the header is not in the first `HEAD` bytes."""
    opened = os.open(path, os.O_RDONLY)
    try:
        head = os.read(opened, HEAD)
    finally:
        os.close(opened)
    if header := header_of(head):
        return b"", header
    data = Path(path).read_bytes()
    return data, header_of(data)


def _open(data: bytes, what: str) -> "Image":
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
        raw = [tile[3] for tile in image.tile]
    except Exception as error:  # what Pillow raises for a damaged picture is not documented
        raise ConfigError(f"{what} is not a readable PNG or JPEG: {kind_of(data) or _line(error)}") from error
    if image.width * image.height > MAX_PIXELS:
        raise ConfigError(f"{what} is {image.width} x {image.height} pixels; at most {MAX_PIXELS} pixels are read")
    if "16" in str(raw):
        raise ConfigError(
            f"{what} has 16 bits per channel; convert it to 8 bits first, since the lower half would be lost"
        )
    if image.mode not in GREY | COLOUR:
        raise ConfigError(f"{what} has pixels of type {image.mode}, not 8 bits per channel; convert it first")
    return image


def _line(error: Exception) -> str:
    """Return an error of Pillow in one line, without the addresses of objects."""
    return " ".join(ADDRESS.sub("", str(error)).split()) or type(error).__name__
