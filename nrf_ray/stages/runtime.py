"""The state of torch that every stage works in, whatever ran before in the same process."""

import torch

from nrf_ray.allocator import keep_freed_memory
from nrf_ray.graph.stage import Resources


def prepare(resources: Resources) -> str:
    """Set threads, memory and determinism as `resources` imply, and return the device to work on.

    The number of threads shapes how sums are rounded, so it comes from the request and never from the machine.
    """
    keep_freed_memory()
    torch.set_num_threads(max(1, int(resources.cpus)))
    torch.use_deterministic_algorithms(True, warn_only=resources.device == "cuda")
    torch.backends.cudnn.benchmark = False
    return resources.device
