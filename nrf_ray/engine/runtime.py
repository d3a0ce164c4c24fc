"""Settings of torch that every stage runs with, whatever ran before in the same process."""

import ctypes
import platform

import torch

from nrf_ray.engine.precision import use_exact_float32
from nrf_ray.errors import ClusterError
from nrf_ray.graph.stage import Resources


def prepare(resources: Resources) -> str:
    """Set threads, memory and determinism according to `resources`, and return the device to compute on.

    The number of threads affects the rounding of sums, so it comes from the request and never from the machine. Raises
    ClusterError if a GPU was granted and torch cannot use it: going on without the GPU would give other bits.
    """
    if resources.device == "cuda" and not torch.cuda.is_available():
        raise ClusterError(
            f"the stage was given {resources.gpus:g} GPUs on {platform.node()}, but torch {torch.__version__} sees "
            "none there: install a build of torch for CUDA and a driver that supports it, or leave --gpus-per-trial out"
        )
    keep_freed_memory()
    torch.set_num_threads(max(1, int(resources.cpus)))
    # Not use_deterministic_algorithms, which also imports torch's compiler to set it: two seconds in every process.
    torch.set_deterministic_debug_mode("warn" if resources.device == "cuda" else "error")
    # Otherwise every new tensor is first filled with NaN: 2 to 3% of the time of training and of PGD.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    use_exact_float32()
    return resources.device


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3), numbered as in malloc.h."""


KEPT_BLOCK = 2**30
"""Size in bytes below which a block comes from the heap, which is kept; larger blocks are mapped and returned."""


KEPT_HEAP = 2**31 - 1
"""Free bytes kept at the top of the heap, the most that mallopt accepts."""


def keep_freed_memory() -> bool:
    """Make glibc's malloc keep freed blocks for this process; return whether it does. Without glibc, do nothing."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_THRESHOLD, KEPT_BLOCK) and mallopt(M_TRIM_THRESHOLD, KEPT_HEAP))
