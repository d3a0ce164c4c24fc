"""Where the time of our PGD goes: each kind of operator's share, as torch's profiler counts it.

    python -m tests.benchmarks.anatomy [--case 'resnet_m-*'] [--list]

A convolution and its gradient are what no attack can leave out. What an attack could do better is in all other rows.
"""

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from fnmatch import fnmatch
from itertools import product
from multiprocessing import get_context

import torch
from torch.profiler import ProfilerActivity, profile

from nrf_ray.engine.runtime import keep_freed_memory
from tests.benchmarks.harness import command_line, pinned, report, result
from tests.benchmarks.kernels import MODES
from tests.benchmarks.networks import attacked_rows, trained_network
from tests.benchmarks.pgd import NETWORKS, Setting, ours

STEPS, REPEATS = 4, 5
KINDS = {
    "convolutions": ("aten::mkldnn_convolution",),
    "their gradients by the input": ("aten::convolution_backward", "_ConvolutionBackward"),
    "ReLU and its gradient": ("aten::clamp_min_", "aten::relu_", "aten::relu", "aten::threshold_backward"),
    "sums of branches": ("aten::add_", "aten::add"),
    "copies, other types": ("aten::copy_",),
}
"""Operators by what they are for; all others are the step, the projection, the loss and the calling itself."""
OTHERS = "all else"


def shares(setting: Setting) -> dict[str, float]:
    """Return the share of each kind in one attack, in [0, 1]."""
    torch.set_num_threads(1)
    keep_freed_memory()
    images, targets = attacked_rows(setting.batch)
    attack = replace(setting.attack, mode=MODES[setting.precision])
    craft = ours(trained_network(setting.network), images, targets, attack)
    craft()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        craft()
    kind_of = {operator: kind for kind, operators in KINDS.items() for operator in operators}
    took: dict[str, float] = defaultdict(float)
    for event in seen.key_averages():
        took[kind_of.get(event.key, OTHERS)] += event.self_cpu_time_total
    return {kind: took[kind] / sum(took.values()) for kind in (*KINDS, OTHERS)}


def measured(setting: Setting, repeats: int) -> Sequence[dict[str, float]]:
    """Return the shares of so many attacks, in a process of one thread."""
    with pinned(1), ProcessPoolExecutor(1, get_context("spawn")) as process:
        return [process.submit(shares, setting).result() for _ in range(repeats)]


def main() -> None:
    """Look into every network in both precisions."""
    options = command_line(__doc__ or "")
    for (network, size), precision in product(NETWORKS.items(), MODES):
        case = f"{network}-{precision}-1"
        if not fnmatch(case, options.case):
            continue
        if options.list:
            print(case)
            continue
        setting = Setting(network=network, norm="l2", precision=precision, batch=size["batch"], steps=STEPS)
        found = measured(setting, options.repeats or REPEATS)
        rows = [
            result("anatomy", case, kind, [each[kind] for each in found], unit="share", threads=1)
            for kind in (*KINDS, OTHERS)
        ]
        report(options.out / "anatomy.parquet", rows, add=options.add)


if __name__ == "__main__":
    main()
