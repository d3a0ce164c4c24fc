"""Check that the JSON of a record has the fields and types that code that reads records relies on.

A checksum shows that a record is unchanged, not that this program wrote it, or a version of it with the same fields.
Every field is checked once here, so code that reads records only has to handle the types listed here.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= sys.float_info.max


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def _is_measured(value: Any) -> bool:
    return isinstance(value, int | float | str | None) or _all_are(lambda item: isinstance(item, int), value)


def _all_are(check: Check, value: Any) -> bool:
    """Return whether `value` is a list and `check` holds for each of its items."""
    return isinstance(value, list) and all(map(check, value))


def _or_none(check: Check) -> Check:
    """Return a check that also accepts None."""
    return lambda value: value is None or check(value)


def _is_plugin(value: Any) -> bool:
    return isinstance(value, dict) and _is_text(value.get("name")) and _is_digest(value.get("digest"))


PROVENANCE: Mapping[str, Check] = {
    "seconds": _is_amount,
    "source_digest": _is_text,
    "started": _is_text,
    "device": _is_text,
    "threads": _is_whole,
    "host": _is_text,
}
"""Provenance fields that every record has."""

LATER: Mapping[str, Check] = {
    "label": _or_none(_is_text),
    "arch": _or_none(_is_text),
    "expected_seconds": _or_none(_is_amount),
    "expected_form": _is_whole,
    "first_of_process": lambda value: isinstance(value, bool),
    "gpus": _is_amount,
    "source_form": _is_whole,
    "processor": _is_text,
    "accelerators": lambda value: _all_are(_is_text, value),
    "plugins": lambda value: _all_are(_is_plugin, value),
}
"""Provenance fields that were added later, so that older records lack them."""


def is_well_formed(body: Mapping[str, Any]) -> bool:
    """Return whether every field of a record's JSON has its type; `Record.from_bytes` checks which fields there are."""
    inputs, metrics, files, provenance = (body.get(name) for name in ("inputs", "metrics", "files", "provenance"))
    return (
        _is_whole(body.get("version"))
        and isinstance(inputs, dict)
        and all(map(_is_digest, inputs.values()))
        and isinstance(metrics, dict)
        and all(map(_is_measured, metrics.values()))
        and isinstance(files, list)
        and all(map(_is_file, files))
        and isinstance(provenance, dict)
        and all(check(provenance.get(name)) for name, check in PROVENANCE.items())
        and all(check(provenance[name]) for name, check in LATER.items() if name in provenance)
    )


def _is_file(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and entry.keys() - {"copy"} == {"name", "size", "sha256"}
        and _is_text(entry["name"])
        and _is_whole(entry["size"])
        and _is_digest(entry["sha256"])
        and _is_whole(entry.get("copy", 0))
    )
