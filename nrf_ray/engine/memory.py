"""Keep freed memory in the process: the next batch needs the same amount again.

glibc maps every large block afresh and gives it back when it is freed, so each activation of each batch is paged in
anew: on a small network a fifth of the time of a gradient goes into page faults. A process that keeps what it freed has
the same peak and does not fall back between batches.
"""

import ctypes
import platform

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
