"""Names of planted sets: `planted-image`, or with parameters `planted-image[label=noise,noise=0.25]`.

Parameters are in brackets, since a comma in brackets does not separate datasets in a list. The name in tables and keys
gives exactly the parameters that are not the default, in a fixed order, so that a set has only one name.
"""

import hashlib
import json
import math
import re
from dataclasses import asdict, fields
from fractions import Fraction
from typing import Any

from nrf_ray.data.planted.spec import MODALITIES, Planted, planted
from nrf_ray.errors import ConfigError

GENERATOR = 1
"""Version of the generator: increase it whenever any planted set changes."""

PREFIX = "planted-"
SETS = tuple(f"{PREFIX}{modality}" for modality in MODALITIES)
"""Names without parameters."""

PARAMETERS = tuple(field.name for field in fields(Planted) if field.name != "modality")
WHOLE = ("classes", "train", "test", "seed")


def is_planted(name: str) -> bool:
    """Return whether the name of a dataset is written as a planted set's."""
    return name.startswith(PREFIX)


def parse_planted(name: str) -> Planted:
    """Return the planted set called `name`. Raises ConfigError if the name is wrong."""
    match = re.fullmatch(rf"{PREFIX}(\w+)(?:\[(.*)\])?", name)
    if match is None or match[1] not in MODALITIES:
        raise ConfigError(
            f"unknown planted dataset {name!r}; write {', '.join(SETS[:-1])} or {SETS[-1]}, with parameters in "
            f"brackets: {PREFIX}image[label=noise,noise=0.25]"
        )
    given: dict[str, Any] = {}
    for part in (match[2] or "").split(","):
        parameter, equals, value = (piece.strip() for piece in part.partition("="))
        if not part.strip():
            continue
        if parameter not in PARAMETERS or not equals:
            raise ConfigError(
                f"{part.strip()!r} in dataset {name!r} is not a parameter; write NAME=VALUE with one of the names "
                f"{', '.join(PARAMETERS)}"
            )
        if parameter in given:
            raise ConfigError(f"dataset {name!r} gives {parameter} twice; give it once")
        given[parameter] = value if parameter == "label" else _number(name, parameter, value)
    return planted(match[1], **given)


def planted_name(spec: Planted) -> str:
    """Return the only name of `spec`; `parse_planted` parses it."""
    usual = {**asdict(planted(spec.modality, label=spec.label, classes=spec.classes)), "label": "human", "classes": 4}
    stated = [f"{name}={_text(value)}" for name in PARAMETERS if (value := getattr(spec, name)) != usual[name]]
    return f"{PREFIX}{spec.modality}" + (f"[{','.join(stated)}]" if stated else "")


def planted_digest(spec: Planted) -> str:
    """Return the digest of the parameters of `spec` and of the generator's version, used as content digest.

    A digest of the content would require generating the set, and a plan must not even import numpy. A test checks that
    the bytes of some sets do not change without a new version.
    """
    return hashlib.sha256(json.dumps([GENERATOR, asdict(spec)], sort_keys=True).encode()).hexdigest()


def _number(name: str, parameter: str, text: str) -> int | float:
    try:
        value = float(Fraction(text)) if "/" in text else float(text)
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise ConfigError(
            f"{parameter}={text!r} in dataset {name!r} is not a number; write it as 0.5 or 1/4"
        ) from error
    if parameter not in WHOLE:
        return value
    if not math.isfinite(value) or not re.fullmatch(r"\d{1,19}", text):
        raise ConfigError(f"{parameter}={text!r} in dataset {name!r} is not a whole number; write it as 4")
    return int(text)


def _text(value: str | float) -> str:
    """Return a value as the shortest text that gives it back exactly."""
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
