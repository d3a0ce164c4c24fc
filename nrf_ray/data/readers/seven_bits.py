"""Encodings whose bytes are all ASCII, and so UTF-8: ISO-2022, HZ and UTF-7 would be read as words."""

import re
from collections.abc import Sequence

from nrf_ray.errors import ConfigError

ESCAPES = ("\x1b$", "\x1b(")
"""Beginnings of the sequences with which ISO-2022 changes its alphabet."""
SHIFTS = {"HZ": ("~", re.compile(r"~\{.+?~\}")), "UTF-7": ("+", re.compile(r"\+[A-Za-z0-9+/]+"))}
"""Sign with which an encoding changes its alphabet, and the pattern of what the sign begins.

Ordinary texts have these signs too. They are not in the encoding if any text of the file cannot be decoded from it,
which each `+` before a blank, a sign or a number prevents, or if fewer than `DIFFERENT` pieces become letters.
"""
DIFFERENT = 2


def check_seven_bits(file: str, texts: Sequence[str | None]) -> None:
    """Raise ConfigError if the texts of `file` are in an encoding of seven bits."""
    given = [text or "" for text in texts]
    for number, text in enumerate(given):
        if any(escape in text for escape in ESCAPES):
            raise ConfigError(
                f"row {number} of {file} is ISO-2022 and not UTF-8; convert the file: iconv -f ISO-2022-JP "
                "(or -KR, -CN) -t UTF-8"
            )
    if not all(map(str.isascii, given)):
        return
    for codec, (sign, shift) in SHIFTS.items():
        pieces = _pieces([text for text in given if sign in text], codec, shift)
        if len(pieces) >= DIFFERENT:
            raise ConfigError(
                f"{file} is {codec} and not UTF-8: {pieces[0]!r:.40} is in its texts; convert the file: "
                f"iconv -f {codec} -t UTF-8"
            )


def _pieces(texts: Sequence[str], codec: str, shift: re.Pattern[str]) -> list[str]:
    """Return the different pieces of `texts` that `codec` decodes to letters; none if a text cannot be decoded."""
    found: dict[str, None] = {}
    for text in texts:
        try:
            text.encode().decode(codec)
            pieces = [piece for piece in shift.findall(text) if _is_letters(piece.encode().decode(codec))]
        except UnicodeDecodeError:
            return []
        found.update(dict.fromkeys(pieces))
    return [*found]


def _is_letters(text: str) -> bool:
    return text.isalpha() and not text.isascii()
