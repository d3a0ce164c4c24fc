"""The state of torch that every stage works in, whatever ran before in the same process."""

import ctypes
import platform

import torch

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


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3), numbered as in malloc.h."""


KEPT_BLOCK = 2**30
"""Blocks below this many bytes come from the heap, which is kept; larger ones are mapped and given back."""


KEPT_HEAP = 2**31 - 1
"""So many free bytes at the top of the heap are kept, the most that mallopt takes."""


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to keep freed blocks for this process; return whether it does. Elsewhere, do nothing."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_THRESHOLD, KEPT_BLOCK) and mallopt(M_TRIM_THRESHOLD, KEPT_HEAP))
