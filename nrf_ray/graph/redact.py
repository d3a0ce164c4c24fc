"""What must not be kept or shown: credentials that somebody put into an address."""

import re

_USER = re.compile(r"(://)[^/\s@]*@")
_QUERY = re.compile(r"(://[^\s?#]*)[?#]\S*")


def without_secrets(text: str) -> str:
    """Return `text` with user, password and query of every address in it replaced by stars."""
    return _QUERY.sub(r"\1?***", _USER.sub(r"\1***@", text))
