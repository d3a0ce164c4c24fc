"""Trial build of a network in a separate process: does the architecture exist, and does it accept images of a shape?

    python -m nrf_ray.models.try_out timm:vit_tiny_patch16_224 3 32 32

Prints one line of JSON: the problem, or null.
"""

import json
import sys

import torch

from nrf_ray.errors import ConfigError, one_line
from nrf_ray.models.zoo import build


def problem_of(arch: str, shape: tuple[int, int, int]) -> str | None:
    """Return why `arch` does not accept images of `shape` (c, h, w), or None if it does."""
    ones = (1.0,) * shape[0]
    try:
        network = build(arch, shape=shape, num_classes=2, mean=ones, std=ones, seed=0).eval()
        with torch.no_grad():
            network(torch.zeros(1, *shape))
    except ConfigError as error:
        return one_line(error)
    except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
        return f"{arch} does not accept images of {' x '.join(map(str, shape))} ({one_line(error)}); use another model"
    return None


if __name__ == "__main__":
    channels, height, width = map(int, sys.argv[2:])
    print(json.dumps(problem_of(sys.argv[1], (channels, height, width))))
