"""The order of class folders: that of text, or the natural order, in which c2 comes before c10.

In natural order every number in a name counts as a number, and case does not count. A number may have decimals, and
one at the start of a name may have a minus sign.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from nrf_ray.data.members import listed
from nrf_ray.data.outline import NUMBER
from nrf_ray.errors import ConfigError

NUMBERED = re.compile(r"(^-)?(\d+)(?:\.(\d+))?")
DIGITS = 256
"""More digits than the name of a file can have."""
TURNED = str.maketrans("0123456789", "9876543210")


def in_order(path: Path, names: Iterable[str], order: str) -> list[str]:
    """Return the names of class folders in the order of their labels: "number", "text", or empty if both are the same.

    Orders that differ by case alone are the same: that of text is used.

    Raises ConfigError if `order` is empty and numbers give another order, or if `order` is "number" and they give none.
    """
    by_text = sorted(names)
    by_number = sorted(by_text, key=natural)
    if order == NUMBER:
        _check_numbered(path, by_text)
        return by_number
    if order or by_number in (by_text, sorted(by_text, key=str.casefold)):
        return by_text
    place = next(label for label, name in enumerate(by_text) if name != by_number[label])
    raise ConfigError(
        f"{path} has class folders named by numbers, and class {place} is {by_number[place]} in numerical order but "
        f"{by_text[place]} in text order, which ImageFolder and its checkpoints use: write [classes=number] or "
        f"[classes=text] behind the path"
    )


def natural(name: str) -> str:
    """Return a text whose order among those of other names is their natural order; equal if only zeros differ."""
    digits = re.sub(r"\d", lambda digit: str(int(digit[0])), name.casefold())  # those of other scripts too
    return NUMBERED.sub(_sortable, digits)


def _sortable(number: re.Match[str]) -> str:
    """Return a number with leading zeros; the larger a negative one is in size, the earlier it comes."""
    text = f"{number[2].zfill(DIGITS)}.{(number[3] or '').rstrip('0')}"
    return f"-{text.translate(TURNED)}\x7f" if number[1] else f"{text}\0"


def _check_numbered(path: Path, names: list[str]) -> None:
    if len({natural(name) for name in names}) < len(names) or not any(map(NUMBERED.search, names)):
        raise ConfigError(
            f"{path} has class folders {listed(names)}, which have no numbers, or differ only in zeros or case; write "
            "[classes=text]"
        )
