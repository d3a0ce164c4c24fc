"""The canonical JSON of a value, and the key computed from it.

`canonical_json` gives equal values equal text in every process, whatever the order of dicts or the version of Python.
It raises if the identity of something in a config is not its value (a callable, NaN, a path of this machine). `Key` is
the sha256 of such a text.
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
"""JSON values, as `encode` returns them."""


def encode(value: Any, at: str = "config") -> Json:
    """Return `value` as JSON data; if a part has no stable identity, raise ConfigError with that part's path in `at`.

    A dataclass becomes its fields with its class name under "type", so that two kinds of config never collide. Fields
    declared with `field(compare=False)` are left out: a field that does not make two values differ is not part of their
    identity (for example, where a dataset's files are on this machine).
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
                raise ConfigError(f"{at} is a set with items that are not text, so it has no stable order; use a tuple")
            return sorted(value)
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            if any(f.name == "type" for f in dataclasses.fields(value)):
                raise ConfigError(f"{at} has a field called 'type', which is the name for its class; rename the field")
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
    """Return the canonical JSON text of `value`: sorted names, no spaces, shortest floats, ASCII only."""
    return json_text(encode(value))


def json_text(value: Json) -> str:
    """Return the canonical JSON text of data that `encode` returned or that was read from such a text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(data: bytes) -> str:
    """Return the sha256 of `data` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def key_of(value: Any) -> Key:
    """Return the key of `value`: the sha256 of its canonical JSON."""
    return Key(digest(canonical_json(value).encode()))
