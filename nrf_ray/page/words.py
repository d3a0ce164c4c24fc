"""Numbers and times in words."""

from datetime import datetime


def span(seconds: float) -> str:
    """Return a time for people, as exact as they care: 0.4 s, 12 s, 4 min 5 s, 3 h 20 min, 2 d 4 h."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, large, small in ((86_400, "d", "h"), (3600, "h", "min"), (60, "min", "s")):
        if whole >= size:
            rest = whole % size // {"d": 3600, "h": 60, "min": 1}[large]
            return f"{whole // size} {large}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"


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
