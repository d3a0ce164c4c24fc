"""Paths as people write them: with a home folder in front, in letters that can be printed and stored."""

from pathlib import Path

from nrf_ray.errors import ConfigError


def expanded(path: str) -> Path:
    """Return `path` with a leading `~` replaced by the home folder; raise ConfigError if there is no such folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(
            f"{path} begins with the home folder of a user that is not known here; set HOME to a folder that you may "
            "write to, or give an absolute path"
        ) from error


def check_text(name: str, what: str) -> None:
    """Raise ConfigError if the bytes of `name` are not UTF-8, so that it can neither be printed nor stored as text."""
    if not is_text(name):
        raise ConfigError(f"{what} {printable(name)} is not UTF-8; give it another name")


def is_text(name: str) -> bool:
    """Return whether `name` is text; Python keeps each byte of a path that is not UTF-8 as a half of a character."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def printable(name: str) -> str:
    r"""Return `name` with every byte that is not UTF-8 as `\xff`, for people."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
