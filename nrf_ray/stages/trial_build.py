"""Trial build of a network of timm or torchvision for images of some shape, without importing torch in this process.

A child process builds the network once. The result is stored in `<data home>/architectures`, by the versions of
that library and torch.
"""

import hashlib
import json
import uuid
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from nrf_ray.data.apart import said_apart
from nrf_ray.data.places import data_home
from nrf_ray.errors import ConfigError


@cache
def check_builds(arch: str, shape: tuple[int, int, int]) -> None:
    """Raise ConfigError if the library of `arch` is not installed, or cannot build it for images of `shape`."""
    try:
        versions = [version(arch.partition(":")[0]), version("torch")]
    except PackageNotFoundError as error:
        raise ConfigError(f"{arch} needs the timm library: pip install 'nrf_ray[timm]'") from error
    key = hashlib.sha256(json.dumps([*versions, arch, shape]).encode()).hexdigest()
    remembered = data_home() / "architectures" / f"{key}.json"
    try:
        problem = json.loads(remembered.read_bytes())
    except (OSError, ValueError):
        problem = _built_apart(arch, shape)
        _remember(remembered, problem)
    if problem is not None:
        raise ConfigError(str(problem))


def _built_apart(arch: str, shape: tuple[int, int, int]) -> str | None:
    """Build `arch` for images of `shape` in a child process; return the problem, or None if there is none."""
    found: str | None = said_apart("nrf_ray.models.try_out", arch, *map(str, shape))
    return found


def _remember(file: Path, problem: str | None) -> None:
    """Store a result; if the folder is not writable, the trial is repeated next time."""
    temporary = file.with_name(f".tmp-{uuid.uuid4().hex}")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(problem))
        temporary.replace(file)
