"""Numbers and moments in words."""

from datetime import datetime


def moment(when: datetime) -> str:
    """Return a moment (in UTC) for people."""
    return f"{when:%Y-%m-%d %H:%M:%S} UTC"


def count(number: int, one: str, many: str = "") -> str:
    """Return `number` with its noun, as in "1 stage" and "10,000 stages"."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def listed(words: list[str], most: int) -> str:
    """Return the first `most` of `words` by comma, and how many more there are."""
    more = len(words) - most
    return ", ".join(words[:most]) + (f" and {more:,} more" if more > 0 else "")
