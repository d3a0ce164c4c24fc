"""One text for one value, and the key that is made of it.

`canonical_json` writes a config so that equal values give equal text in every process, whatever the order of dicts or
the version of Python, and raises on anything whose identity is not its value (a callable, NaN, a path of this
machine). `Key` is the sha256 of such a text.
"""

import dataclasses
import enum
import hashlib
import json
import math
from typing import Any, NewType

from nrf_ray.errors import ConfigError

Key = NewType("Key", str)
"""The identity of a stage's result: 64 hexadecimal digits."""

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
"""What `encode` returns: the values that JSON has."""


def encode(value: Any, at: str = "config") -> Json:
    """Return `value` as JSON data, or raise ConfigError that names the place `at` which has no stable identity.

    A dataclass becomes its fields with its class name under "type", so that two kinds of config never collide. Fields
    declared with `field(compare=False)` are left out: what does not make two values differ is no part of what they are
    (where a dataset's files lie on this machine, for one).
    """
    match value:
        case None | bool() | str():
            return value
        case enum.Enum():
            return encode(value.value, at)
        case int():
            return int(value)
        case float():
            if not math.isfinite(value):
                raise ConfigError(f"{at} is {value}: only finite numbers can be part of a key")
            return value + 0.0
        case list() | tuple():
            return [encode(item, f"{at}[{i}]") for i, item in enumerate(value)]
        case dict():
            if not all(isinstance(name, str) for name in value):
                raise ConfigError(f"{at} has names that are not text: only text names can be part of a key")
            return {name: encode(value[name], f"{at}.{name}") for name in sorted(value)}
        case set() | frozenset():
            if not all(isinstance(item, str) for item in value):
                raise ConfigError(f"{at} is a set of other things than text and has no stable order; use a tuple")
            return sorted(value)
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            if any(f.name == "type" for f in dataclasses.fields(value)):
                raise ConfigError(f"{at} has a field called 'type', the name that its class goes by; rename the field")
            identity = [f.name for f in dataclasses.fields(value) if f.compare]
            return {
                "type": type(value).__name__,
                **{name: encode(getattr(value, name), f"{at}.{name}") for name in identity},
            }
    raise ConfigError(
        f"{at} is a {type(value).__name__}, which has no stable identity and cannot be part of a key; "
        "use numbers, text, lists, dicts or frozen dataclasses of these"
    )


def canonical_json(value: Any) -> str:
    """Return the one JSON text of `value`: sorted names, no spaces, shortest floats, ASCII only."""
    return json_text(encode(value))


def json_text(value: Json) -> str:
    """Return the one JSON text of data that `encode` returned, or that was read from such a text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(data: bytes) -> str:
    """Return the sha256 of `data` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def key_of(value: Any) -> Key:
    """Return the key of `value`: the sha256 of its canonical JSON."""
    return Key(digest(canonical_json(value).encode()))
