"""Whether the JSON of a record has the fields and types that whoever reads records relies on.

A checksum says that a record is what somebody wrote; not that it was this program, or one that wrote what this one
reads. Here every field is looked at once, so that no reader has to expect anything but what stands here.
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
    """Return whether `value` is a list of which `check` holds for every item."""
    return isinstance(value, list) and all(map(check, value))


def _or_none(check: Check) -> Check:
    """Return the check that None passes too."""
    return lambda value: value is None or check(value)


PROVENANCE: Mapping[str, Check] = {
    "seconds": _is_amount,
    "source_digest": _is_text,
    "started": _is_text,
    "device": _is_text,
    "threads": _is_whole,
    "host": _is_text,
}
"""What every record says of how it came about."""

LATER: Mapping[str, Check] = {
    "label": _or_none(_is_text),
    "arch": _or_none(_is_text),
    "expected_seconds": _or_none(_is_amount),
    "gpus": _is_amount,
    "source_form": _is_whole,
    "processor": _is_text,
    "accelerators": lambda value: _all_are(_is_text, value),
}
"""What records say that are not of the first day."""


def is_well_formed(body: Mapping[str, Any]) -> bool:
    """Return whether every field of a record's JSON is of its type; which fields there are is for others to see."""
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
