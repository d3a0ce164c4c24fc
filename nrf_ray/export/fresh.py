"""A new folder that gets its name when it is whole: nothing is overwritten, and a mistake leaves nothing behind."""

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
    """Yield a temporary folder that becomes `destination` at the end; on an error it goes.

    Raises ConfigError where there is something at `destination`, or where it cannot be written.
    """
    if destination.exists() or destination.is_symlink():
        raise ConfigError(f"there is something at {destination}; export to a place where there is nothing")
    temporary = destination.absolute().with_name(f".tmp-{uuid.uuid4().hex}")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.rename(destination)
    except OSError as error:
        raise ConfigError(f"cannot write {destination}: {error.strerror}; choose another place") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def needed(module: str, what: str) -> ModuleType:
    """Return the library `module`, or raise ConfigError that says how to install what `what` needs."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        library = (error.name or module).partition(".")[0]
        raise ConfigError(
            f"{what} needs {library}, which is not installed; pip install -c constraints.txt -e '.[export]'"
        ) from error
