"""How long something takes, for people."""


def span(seconds: float) -> str:
    """Return a time as exact as people care: 0.4 s, 12 s, 4 min 5 s, 3 h 20 min, 2 d 4 h."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, large, small in ((86_400, "d", "h"), (3600, "h", "min"), (60, "min", "s")):
        if whole >= size:
            rest = whole % size // {"d": 3600, "h": 60, "min": 1}[large]
            return f"{whole // size} {large}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"
