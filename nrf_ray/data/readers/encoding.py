"""Text files, which must be UTF-8, and gzip-compressed files; both are read up to a size limit."""

import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from nrf_ray.data.readers.beginnings import kind_of
from nrf_ray.errors import ConfigError

HEAD = 256
"""First bytes in which UTF-16 and UTF-32 are recognised: the names of most columns are ASCII letters."""
MARKS = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
"""Byte-order marks at the start of such files."""
WIDE = ("UTF-32LE", "UTF-32BE", "UTF-16LE", "UTF-16BE")


class Capped(io.RawIOBase):
    """Decompressed content of a file, with an error after `limit` bytes: a short file can unpack to any length."""

    def __init__(self, file: gzip.GzipFile, path: Path, limit: int) -> None:
        self._file, self._path, self._limit, self._left = file, path, limit, limit

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read up to `len(buffer)` bytes into `buffer`, and return their number."""
        count = self._file.readinto(buffer)
        self._left -= count
        if self._left < 0:
            raise ConfigError(f"{self._path} unpacks to more than {self._limit} bytes, the most that is read")
        return count


@contextmanager
def opened_bytes(file: Path, limit: int) -> Iterator[BinaryIO]:
    """Open `file`; a .gz file is decompressed, up to `limit` bytes."""
    with file.open("rb") as plain:
        if file.suffix.lower() != ".gz":
            yield plain
        else:
            with gzip.open(plain) as packed, io.BufferedReader(Capped(packed, file, limit)) as content:
                yield content


@contextmanager
def opened_text(file: Path, limit: int) -> Iterator[io.TextIOWrapper]:
    """Open `file` as text, with its line breaks unchanged. Reading raises ConfigError if it is not UTF-8."""
    with opened_bytes(file, limit) as content:
        head = content.read(HEAD)
        wide = next((name for mark, name in MARKS.items() if head.startswith(mark)), "") or _wide(head)
    if other := kind_of(head):
        raise ConfigError(f"{file} is not text but {other}")
    if wide:
        raise ConfigError(f"{file} is {wide} and not UTF-8; convert it: iconv -f {wide} -t UTF-8")
    with opened_bytes(file, limit) as content:
        try:
            with io.TextIOWrapper(content, encoding="utf-8-sig", newline="") as lines:
                yield lines
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"{file} is not UTF-8{_where(file, limit)}: {error.reason}; convert it from the "
                "encoding in which it was written: iconv -f ENCODING -t UTF-8 (WINDOWS-1252, SHIFT-JIS, ...)"
            ) from error


def _wide(head: bytes) -> str:
    """Return the encoding of `head`, which has no mark; empty if it is not UTF-16 or UTF-32.

    In its own encoding alone, a line of a CSV file contains a comma, and no text contains a zero.
    """
    texts = {name: head.decode(name, "replace") for name in WIDE if 0 in head}
    return next((name for name, text in texts.items() if "," in text and "\0" not in text), "")


def _where(file: Path, limit: int) -> str:
    """Return line and offset of the first byte that is not UTF-8, since the decoder counts only from its last read."""
    before = 0
    with opened_bytes(file, limit) as content:
        for number, line in enumerate(content, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return f" in line {number} (byte {before + error.start})"
            before += len(line)
    return ""
