"""The outline of files that only another library reads: computed by a child process, because planning imports no torch.

`python -m nrf_ray.data.outline_apart LIBRARY LOCATION` prints it as JSON, or the error that refuses the files.
"""

import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import asdict

from nrf_ray.data.apart import said_apart
from nrf_ray.data.outline import Outline
from nrf_ray.data.readers.pictures import UnusablePictures
from nrf_ray.errors import ConfigError

SECONDS = 3600.0
"""Time limit of the child process, which may decode every picture of a set once."""


def outlined_by(library: str, location: str, here: Callable[[], Outline]) -> Outline:
    """Return what `here` returns, called in a child process unless this one has imported `library` already.

    `location` is the full name of the files. Raises ConfigError if the files are refused.
    """
    if library in sys.modules:
        return here()
    said = said_apart(__name__, library, location, doing=f"read {location}", seconds=SECONDS)
    if "refused" in said:
        raise (UnusablePictures if said["kind"] == UnusablePictures.__name__ else ConfigError)(said["refused"])
    return Outline.of(said)


def main(library: str, location: str) -> None:
    """Print the outline of the files called `location`, or the error that refuses them."""
    from nrf_ray.data.naming import parse_name

    importlib.import_module(library)
    files = parse_name(location).train
    try:
        said = asdict(files.format.outline(files.path))
    except ConfigError as error:
        said = {"refused": str(error), "kind": type(error).__name__}
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
