"""Size and kind of PNG and JPEG pictures from their first bytes, without decoding: a microsecond per picture.

Only common headers are read. If a header cannot be read here, Pillow decides whether the file is a picture.
"""

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

PNG = b"\x89PNG\r\n\x1a\n"
PNG_HEAD = 26
"""Bytes up to the colour type."""
PNG_BITS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""Allowed bits per channel, by colour type."""
PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 1, 6: 3}
"""Channels by colour type (grey, RGB, palette, grey with alpha, RGB with alpha); transparency is dropped."""
JPEG = b"\xff\xd8"
SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of JPEG that are followed by the size."""
ALONE = frozenset((0x00, 0x01, *range(0xD0, 0xDB), 0xFF))
"""Markers without a length, and markers that come after the size."""


class Header(NamedTuple):
    """Size and kind of a picture, from its first bytes."""

    channels: int
    """Channels after reading: 1 or 3."""
    height: int
    width: int
    bits: int
    """Bits per channel."""


def header_of(data: bytes) -> Header | None:
    """Return the header of the picture that begins with `data`, or None if `data` alone does not show it."""
    if data.startswith(PNG):
        return _png(data)
    return _jpeg(data) if data.startswith(JPEG) else None


def plain_pngs(pictures: Any, shape: tuple[int, int, int]) -> "npt.NDArray[np.bool_]":
    """Return which of `pictures` (Arrow array of bytes) are PNG of `shape` (c, h, w) with 8 bits per channel, [n]."""
    import numpy as np
    import pyarrow as pa

    if not len(pictures):
        return np.zeros(0, bool)
    wide = np.int64 if pa.types.is_large_binary(pictures.type) else np.int32
    _, ends, content = pictures.buffers()
    places: Any = np.frombuffer(ends, wide)[pictures.offset : pictures.offset + len(pictures) + 1]
    fine: npt.NDArray[np.bool_] = np.diff(places) >= PNG_HEAD
    if not fine.any():
        return fine
    heads = np.frombuffer(content, np.uint8)[places[:-1][fine, None] + np.arange(PNG_HEAD)]
    channels, height, width = shape
    begins = PNG + bytes((0, 0, 0, 13)) + b"IHDR" + struct.pack(">II", width, height)
    colours = [colour for colour, count in PNG_CHANNELS.items() if count <= channels]
    fine[fine] = (
        (heads[:, : len(begins)] == np.frombuffer(begins, np.uint8)).all(axis=1)
        & (heads[:, 24] == 8)
        & np.isin(heads[:, 25], colours)
    )
    return fine


def _png(data: bytes) -> Header | None:
    if len(data) < PNG_HEAD or data[12:16] != b"IHDR" or data[24] not in PNG_BITS.get(data[25], ()):
        return None
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    return Header(PNG_CHANNELS[colour], height, width, bits)


def _jpeg(data: bytes) -> Header | None:
    place = 2
    while place + 10 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in SIZES:
            bits, height, width, channels = struct.unpack_from(">BHHB", data, place + 4)
            return Header(1 if channels == 1 else 3, height, width, bits)
        if marker in ALONE:
            return None
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None
