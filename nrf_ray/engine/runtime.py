"""The state of torch that every stage works in, whatever ran before in the same process."""

import platform

import torch

from nrf_ray.engine.memory import keep_freed_memory
from nrf_ray.engine.precision import use_exact_float32
from nrf_ray.errors import ClusterError
from nrf_ray.graph.stage import Resources


def prepare(resources: Resources) -> str:
    """Set threads, memory and determinism as `resources` imply, and return the device to work on.

    The number of threads shapes how sums are rounded, so it comes from the request and never from the machine. Raises
    ClusterError where a GPU was granted and torch cannot use it: going on without would give other bits.
    """
    if resources.device == "cuda" and not torch.cuda.is_available():
        raise ClusterError(
            f"the stage was given {resources.gpus:g} GPUs on {platform.node()}, but torch {torch.__version__} sees "
            "none there: install a build of torch for CUDA and a driver that it takes, or leave --gpus-per-trial out"
        )
    keep_freed_memory()
    torch.set_num_threads(max(1, int(resources.cpus)))
    torch.use_deterministic_algorithms(True, warn_only=resources.device == "cuda")
    # Else every new tensor is first filled with NaN: 2 to 3% of the time of training and of PGD.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    use_exact_float32()
    return resources.device
