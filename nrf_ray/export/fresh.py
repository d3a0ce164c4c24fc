"""A new folder that gets its name when it is complete: nothing is overwritten, and an error leaves nothing behind."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType

from nrf_ray.errors import ConfigError


@contextmanager
def new_folder(destination: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `destination` at the end; on an error it is deleted.

    Raises ConfigError if `destination` exists already, or if it cannot be written.
    """
    if destination.exists() or destination.is_symlink():
        raise ConfigError(f"{destination} already exists; export to a new folder")
    temporary = destination.absolute().with_name(f".tmp-{uuid.uuid4().hex}")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.rename(destination)
    except OSError as error:
        raise ConfigError(f"cannot write {destination}: {error.strerror}; choose another folder") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def needed(module: str, what: str) -> ModuleType:
    """Return the library `module`, which `what` needs, or raise ConfigError that says how to install it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        library = (error.name or module).partition(".")[0]
        raise ConfigError(
            f"{what} needs {library}, which is not installed; pip install -c constraints.txt -e '.[export]'"
        ) from error
