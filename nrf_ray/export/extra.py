"""Libraries that only some exports need, and that the core installation goes without."""

from importlib import import_module
from types import ModuleType

from nrf_ray.errors import ConfigError


def needed(module: str, what: str) -> ModuleType:
    """Return the library `module`, or raise ConfigError that says how to install what `what` needs."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        library = (error.name or module).partition(".")[0]
        raise ConfigError(
            f"{what} needs {library}, which is not installed; pip install -c constraints.txt -e '.[export]'"
        ) from error
