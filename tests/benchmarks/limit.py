"""How much of the CPU is used: PGD and bare loops in GFLOP/s, beside the largest matrix products of the same machine.

    python -m tests.benchmarks.limit [--case 'conv4-*']

A multiply-add counts as two operations. A step counts four for every multiply-add of the network's forward pass (its
convolutions and its linear layer; forward and backward to the input), whatever is really computed. The peak is the
product of two 4096 x 4096 matrices, as a 1x1 convolution, which oneDNN computes (torch.mm goes to MKL in fp32, which is
slower on this make of CPU, and is shown too); `first is` says how many times as fast that product is in fp32.

The bare loops show where the time of a step goes: each has one more of the changes that leave the gradient what it is.
"""

from collections.abc import Callable
from functools import partial
from itertools import product

import torch
import torch.nn.functional as F
from torch import nn

from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.models.classifier import forward_macs
from tests.benchmarks.bare import InBfloat16, bare_loop, folded
from tests.benchmarks.harness import Case, Contender, main
from tests.benchmarks.networks import SHAPE, attacked_rows, trained_network
from tests.benchmarks.pgd import EPS, NETWORKS, ours, ours_fast

SIDE = 4096
"""Of the square matrices whose product is the peak."""
STEPS = 3
"""Of a run; a step's rate does not depend on their number."""
OPERATIONS = 4
"""Of a step, by multiply-adds of a forward pass: two each, forward and backward to the input alike."""


def rivals(name: str) -> list[Contender]:
    """Return the matrix products, the bare loops and our PGD, all in GFLOP/s."""
    batch, steps = NETWORKS[name]["batch"], STEPS
    images, targets = attacked_rows(batch)
    last = images.contiguous(memory_format=torch.channels_last)
    work = OPERATIONS * forward_macs(trained_network(name), SHAPE) * batch * steps / 1e9

    def loop(called: str, model: nn.Module, given: torch.Tensor) -> Contender:
        return Contender(name=called, run=partial(bare_loop, model, given, targets, steps), work=work)

    trainable = trained_network(name).requires_grad_(True)
    attack = pgd_attack("l2", EPS["l2"], steps=steps, targeted=True)
    return [
        product_as_convolution("fp32 product", torch.float32),
        product_as_convolution("bf16 product", torch.bfloat16),
        product_of_matrices("fp32 torch.mm", torch.float32),
        product_of_matrices("bf16 torch.mm", torch.bfloat16),
        loop("bare", trainable, images),
        loop("bare, frozen", trained_network(name), images),
        loop("bare, folded", folded(trained_network(name)), images),
        loop("bare, folded, channels last", channels_last(folded(trained_network(name))), last),
        loop("bare, folded, channels last, bf16", InBfloat16(channels_last(folded(trained_network(name)))), last),
        Contender(name="our PGD", run=ours(trained_network(name), images, targets, attack), work=work),
        Contender(name="our PGD, fast", run=ours_fast(trained_network(name), images, targets, attack), work=work),
    ]


def product_as_convolution(name: str, dtype: torch.dtype) -> Contender:
    """Return the product of two square matrices as a 1x1 convolution over an image of 64 x 64 pixels."""
    pixels = torch.rand(1, SIDE, 64, SIDE // 64).to(dtype).contiguous(memory_format=torch.channels_last)
    kernels = torch.rand(SIDE, SIDE, 1, 1).to(dtype).contiguous(memory_format=torch.channels_last)
    return Contender(name=name, run=lambda: F.conv2d(pixels, kernels), work=2 * SIDE**3 / 1e9)


def product_of_matrices(name: str, dtype: torch.dtype) -> Contender:
    """Return the same product by torch.mm."""
    left, right = (torch.rand(SIDE, SIDE).to(dtype) for _ in range(2))
    out = torch.empty_like(left)
    return Contender(name=name, run=lambda: torch.mm(left, right, out=out), work=2 * SIDE**3 / 1e9)


def channels_last(model: nn.Module) -> nn.Module:
    """Return the model with its weights laid out channels last."""
    return model.to(memory_format=torch.channels_last)


def cases() -> list[Case]:
    """Return every network on one thread and on two, and once with malloc as glibc has it."""
    sizes = product(NETWORKS, (1, 2))
    kept = [case(f"{name}-{threads}", partial(rivals, name), threads) for name, threads in sizes]
    return [*kept, *(case(f"{name}-2-plain_malloc", partial(rivals, name), 2, keeps=False) for name in NETWORKS)]


def case(name: str, contenders: Callable[[], list[Contender]], threads: int, *, keeps: bool = True) -> Case:
    """Return one case, in GFLOP/s."""
    return Case(name=name, contenders=contenders, threads=threads, unit="GFLOP", keeps_memory=keeps)


if __name__ == "__main__":
    main("limit", __doc__, cases())
