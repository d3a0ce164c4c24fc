"""Trial build of a timm network for images of some shape, without importing torch in this process.

A child process builds the network once. The result is stored in `<data home>/architectures`, by the versions of timm
and torch.
"""

import hashlib
import json
import os
import subprocess
import sys
import uuid
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import nrf_ray
from nrf_ray.data.places import data_home
from nrf_ray.errors import ConfigError

SECONDS = 300.0
"""Time limit of a trial build; the largest networks of timm take a minute."""


@cache
def check_builds(arch: str, shape: tuple[int, int, int]) -> None:
    """Raise ConfigError if timm does not know `arch`, is not installed, or cannot build it for images of `shape`."""
    try:
        versions = [version("timm"), version("torch")]
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
    command = [sys.executable, "-m", "nrf_ray.models.try_out", arch, *map(str, shape)]
    places = [str(Path(nrf_ray.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "CUDA_VISIBLE_DEVICES": ""}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS)
        found: str | None = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"{arch} was not built within {SECONDS:.0f} s; use a smaller model") from error
    except (IndexError, ValueError) as error:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ConfigError(f"{arch} cannot be built for a trial on this machine: {said}") from error
    return found


def _remember(file: Path, problem: str | None) -> None:
    """Store a result; if the folder is not writable, the trial is repeated next time."""
    temporary = file.with_name(f".tmp-{uuid.uuid4().hex}")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(problem))
        temporary.replace(file)
