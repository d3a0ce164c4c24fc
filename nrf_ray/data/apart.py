"""What only a child process can say, because it imports torch or another large library."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from nrf_ray.errors import ConfigError

SECONDS = 300.0
"""Time limit of a child process, if nothing else is said; the largest networks of timm are built in a minute."""


def said_apart(module: str, *words: str, doing: str = "", seconds: float = SECONDS) -> Any:
    """Return the JSON that `python -m MODULE WORDS` prints last, in a child process, which sees no GPU.

    Raises ConfigError if it prints nothing, or takes longer than `seconds`; `doing` is its task for the message, by
    default to build its first word for a trial.
    """
    task = doing or f"build {words[0]} for a trial"
    places = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", module, *words]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds)
        return json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"cannot {task} within {seconds:.0f} s on this machine; use a smaller one") from error
    except (IndexError, ValueError) as error:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ConfigError(f"cannot {task} on this machine: {said}") from error
