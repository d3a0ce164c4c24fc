"""Freed memory stays in the process: no page is faulted in twice."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from nrf_ray.allocator import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
block = 40 * 2**20
for _ in range(10):  # an aligned block needs a little more than the one that was freed, so the heap grows at first
    torch.zeros(block, dtype=torch.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    torch.zeros(block, dtype=torch.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults_of_five_blocks(*, keep: bool) -> int:
    done = subprocess.run([sys.executable, "-c", FAULTS.format(keep=keep)], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc is told")
def test_a_block_that_was_freed_is_used_again_without_page_faults():
    """Blocks of 40 MiB, beyond the 32 MiB up to which glibc may learn to keep them by itself."""
    assert faults_of_five_blocks(keep=False) > 1000
    assert faults_of_five_blocks(keep=True) < 50
