"""Small changes of files: bits, bytes and pieces, near the ends of a file more often than within it."""

import random
import struct
import zlib


def mutant(data: bytes, draw: random.Random) -> bytes:
    """Return `data` with one to four small changes."""
    for _ in range(draw.choice((1, 1, 2, 4))):
        data = draw.choice(CHANGES)(data, draw)
    return with_checksums(data) if data[:8] == PNG and draw.random() < 0.7 else data


def _place(data: bytes, draw: random.Random) -> int:
    """Return a place in `data`, often near one of its ends: there headers and footers are."""
    if draw.random() < 0.5:
        near = draw.randrange(min(len(data), 64) + 1)
        return near if draw.random() < 0.7 else len(data) - near
    return draw.randrange(len(data) + 1)


def _with_bits_flipped(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 3))):
        if changed:
            changed[min(_place(data, draw), len(changed) - 1)] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _with_bytes_set(data: bytes, draw: random.Random) -> bytes:
    place = _place(data, draw)
    value = draw.choice(VALUES) if draw.random() < 0.6 else draw.randbytes(draw.randint(1, 4))
    return data[:place] + value + data[place + len(value) :]


def _without_a_piece(data: bytes, draw: random.Random) -> bytes:
    place = _place(data, draw)
    return data[:place] + data[place + draw.choice((1, 2, 4, 16, 100)) :]


def _with_a_piece_twice(data: bytes, draw: random.Random) -> bytes:
    place, size = _place(data, draw), draw.choice((1, 4, 16, 100))
    return data[: place + size] + data[place:]


def _with_a_piece_put_in(data: bytes, draw: random.Random) -> bytes:
    place = _place(data, draw)
    return data[:place] + (draw.choice(VALUES) or draw.randbytes(3)) + data[place:]


def _cut_off(data: bytes, draw: random.Random) -> bytes:
    return data[: _place(data, draw)]


def _with_pieces_swapped(data: bytes, draw: random.Random) -> bytes:
    first, second = sorted((_place(data, draw), _place(data, draw)))
    size = min(draw.choice((1, 4, 16)), second - first)
    one, other = data[first : first + size], data[second : second + size]
    return data[:first] + other + data[first + size : second] + one + data[second + size :]


CHANGES = (
    _with_bits_flipped, _with_bits_flipped, _with_bytes_set, _with_bytes_set, _without_a_piece, _with_a_piece_twice,
    _with_a_piece_put_in, _cut_off, _with_pieces_swapped,
)  # fmt: skip
VALUES = (
    b"\0", b"\xff", b"\x7f", b"\x80", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1", b"\1\0\0\0",
    b",", b'"', b"\n", b"\r", b"\r\n", b'"",""', b"\xef\xbb\xbf", b"\xc3\xa9", b"0", b"-1", b"1.5", b"nan", b"PLTE",
    b"tRNS", b"sBIT", b"acTL", b"fdAT", b"IEND", b"\x10", b"\x03",
)  # fmt: skip
"""Numbers at the ends of ranges, and what means something in some format."""

PNG = b"\x89PNG\r\n\x1a\n"


def with_checksums(data: bytes) -> bytes:
    """Return a PNG whose chunks have right checksums, as far as they are chunks: a mutant gets past the first check."""
    out, place = [data[:8]], 8
    while place + 12 <= len(data):
        (size,) = struct.unpack(">I", data[place : place + 4])
        chunk = data[place + 4 : place + 8 + size]
        if place + 12 + size > len(data):
            break
        out += [data[place : place + 4], chunk, struct.pack(">I", zlib.crc32(chunk))]
        place += 12 + size
    return b"".join(out) + data[place:]
