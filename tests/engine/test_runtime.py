"""What a stage's process is prepared for: memory that was freed stays in it, and torch's compiler is never loaded."""

import json
import platform
import subprocess
import sys
from typing import Any

import pytest

PREPARED = """
import json, resource, sys, torch
from nrf_ray.engine.runtime import keep_freed_memory, prepare
from nrf_ray.graph.stage import Resources
from nrf_ray.models import zoo
block = 40 * 2**20


def faults_of_five_blocks():
    for _ in range(10):  # an aligned block needs a little more than the one that was freed, so the heap grows at first
        torch.zeros(block, dtype=torch.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.zeros(block, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


faults = [faults_of_five_blocks()]
kept = keep_freed_memory()
faults.append(faults_of_five_blocks())
device = prepare(Resources())
loaded = sorted({"torch._dynamo", "torch._inductor", "triton"} & set(sys.modules))
print(json.dumps({"faults": faults, "kept": kept, "loaded": loaded,
    "deterministic": torch.are_deterministic_algorithms_enabled(),
    "only warned": torch.is_deterministic_algorithms_warn_only_enabled()}))
"""


@pytest.fixture(scope="module")
def prepared() -> dict[str, Any]:
    """What a new process found of itself before and after it was prepared."""
    done = subprocess.run([sys.executable, "-c", PREPARED], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc is told")
def test_a_block_that_was_freed_is_used_again_without_page_faults(prepared: dict[str, Any]) -> None:
    """Blocks of 40 MiB, beyond the 32 MiB up to which glibc may learn to keep them by itself."""
    before, after = prepared["faults"]
    assert prepared["kept"]
    assert before > 1000
    assert after < 50


def test_what_cannot_be_deterministic_on_a_cpu_is_refused(prepared: dict[str, Any]) -> None:
    assert (prepared["deterministic"], prepared["only warned"]) == (True, False)


def test_neither_networks_nor_determinism_load_the_compiler(prepared: dict[str, Any]) -> None:
    """Regression: every process of a run spent two seconds of a CPU on it, and nothing here is compiled."""
    assert prepared["loaded"] == []
