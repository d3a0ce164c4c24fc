"""Mode in which networks are computed, as plain data: it enters the keys of stages and needs no torch."""

from typing import Literal, get_args

from nrf_ray.errors import lookup

Mode = Literal["faithful", "fast"]
"""Mode of computation. "faithful": float32, with the same bits for the same call. "fast": bfloat16 in layers that allow
it, several times faster on hardware that supports it."""
MODES: tuple[Mode, ...] = get_args(Mode)


def check_mode(mode: str) -> Mode:
    """Return `mode`, or raise ConfigError with the known modes."""
    return lookup({known: known for known in MODES}, mode, "mode")
