"""Address of a store: a folder of this machine, or a bucket."""

import os
import re
from pathlib import Path

from nrf_ray.errors import ConfigError, StoreError, check_text, expanded

SLASH_MISSING = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(?!/)|(s3|gs|az|abfs|abfss|file):(?!//)", re.IGNORECASE)
"""Start of a URI that lacks slashes: s3:/bucket, s3:bucket. It would name a folder called `s3:`."""


def folder_named(uri: str) -> Path | None:
    """Return the folder that `uri` names (a relative path stays relative), or None for the URI of an object store.

    A leading `~` is a home folder, as in a shell, which does not expand it in `--store=~/runs`. Raises StoreError if
    `uri` is empty, starts or ends with white space, or lacks a slash of a URI: such folders are hard to find again.
    """
    shown = without_secrets(uri)
    if uri != uri.strip() or not uri:
        raise StoreError(f"--store {shown!r} is empty, or starts or ends with white space; give a folder or a URI")
    slip = SLASH_MISSING.match(uri)
    if slip:
        scheme, rest = slip[1] or slip[2], shown.partition(":")[2].lstrip("/")
        meant = f"{scheme}:///{rest}" if scheme == "file" else f"{scheme}://{rest}"
        raise StoreError(f"the store {shown} lacks a slash: write {meant}, or ./{shown} for a folder of that name")
    scheme, separator, rest = uri.partition("://")
    if separator and scheme != "file":
        return None
    if separator and not rest.startswith("/"):
        raise StoreError(f"the store {uri} is not an absolute path; write file:///PATH, or the path alone")
    try:
        check_text(os.path.abspath(rest if separator else uri), "the path of the store")
        return expanded(rest if separator else uri)
    except ConfigError as error:
        raise StoreError(f"invalid name of a store: {error}") from error


_USER = re.compile(r"(://)[^/\s@]*@")


_QUERY = re.compile(r"(://[^\s?#]*)[?#]\S*")


def without_secrets(text: str) -> str:
    """Return `text` with user, password and query of every address in it replaced by `***`."""
    return _QUERY.sub(r"\1?***", _USER.sub(r"\1***@", text))
