"""Freed memory stays in the process: no page is faulted in twice."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from nrf_ray.engine.runtime import keep_freed_memory
block = 40 * 2**20


def faults_of_five_blocks():
    for _ in range(10):  # an aligned block needs a little more than the one that was freed, so the heap grows at first
        torch.zeros(block, dtype=torch.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.zeros(block, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


print(faults_of_five_blocks())
assert keep_freed_memory()
print(faults_of_five_blocks())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc is told")
def test_a_block_that_was_freed_is_used_again_without_page_faults():
    """Blocks of 40 MiB, beyond the 32 MiB up to which glibc may learn to keep them by itself."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert before > 1000
    assert after < 50
