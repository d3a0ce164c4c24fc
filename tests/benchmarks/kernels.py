"""What the bare loop itself leaves to be gained: other kernels, smaller batches, a compiler.

    python -m tests.benchmarks.kernels [--case 'layer-*'] [--list]

`layer` cases take one convolution, in GFLOP/s beside the largest product of matrices: its forward pass, the same with
its ReLU fused into it, its gradient by the input, and that gradient as a forward pass with turned weights. `batch`
cases take the folded bare loop on 256 images at once and in parts whose activations fit into caches. `compiled` cases
put torch.compile around our twin; its check is how far the compiled gradient lies from the eager one.
"""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nrf_ray.attacks.pgd import input_gradient
from nrf_ray.engine.mode import Mode
from nrf_ray.engine.twin import channels_last, twin
from nrf_ray.models.over_time import NOWHERE, largest_over_time
from tests.benchmarks.harness import Case, Contender, main
from tests.benchmarks.limit import product_as_convolution
from tests.benchmarks.networks import attacked_rows, trained_network

BATCH = 256
PARTS = (256, 128, 64, 32, 16)
"""Images that go through a network together; the first is how attacks do it."""
GRADIENTS = 2
"""Of every image in one run of a loop."""
MODES: dict[str, Mode] = {"fp32": "faithful", "bf16": "fast"}


class Layer(NamedTuple):
    """A 3x3 convolution of stride 1 that keeps its channels, and the images it gets."""

    channels: int
    side: int
    batch: int


LAYERS = (Layer(16, 16, BATCH), Layer(32, 16, BATCH), Layer(128, 8, BATCH), Layer(64, 32, 64), Layer(512, 4, 64))
"""Of resnet_s and resnet_m, of conv4, and the first and last of resnet18."""


def of_a_layer(layer: Layer, dtype: torch.dtype) -> list[Contender]:
    """Return the largest product, and four things that can be done with a convolution."""
    channels, side, batch = layer
    images = channels_last(torch.rand(batch, channels, side, side).to(dtype))
    weight = channels_last(torch.randn(channels, channels, 3, 3).to(dtype))
    bias = torch.zeros(channels, dtype=dtype)
    gradient = torch.randn_like(images)
    turned = channels_last(weight.flip(2, 3).transpose(0, 1))
    ways: dict[str, Callable[[], object]] = {
        "forward": lambda: F.conv2d(images, weight, bias, padding=1),
        "forward with ReLU": lambda: torch.ops.mkldnn._convolution_pointwise(
            images, weight, bias, [1, 1], [1, 1], [1, 1], 1, "relu", [], ""
        ),
        "gradient by the input": lambda: torch.ops.aten.convolution_backward(
            gradient, images, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True, False, False]
        ),
        "the same as a forward pass": lambda: F.conv2d(gradient, turned, padding=1),
        "ReLU alone, as if it were it": lambda: torch.relu(images),
    }
    work = 2 * 9 * channels * images.numel() / 1e9
    peak = product_as_convolution("product of matrices", dtype)
    return [peak, *(Contender(name=name, run=torch.no_grad()(run), work=work) for name, run in ways.items())]


def in_parts(network: str, mode: Mode) -> list[Contender]:
    """Return the loop of gradients on all images at once, and in parts."""
    images, targets = _attacked()
    model = twin(trained_network(network), images, mode)

    def loop(size: int) -> None:
        for _ in range(GRADIENTS):
            for part, labels in zip(images.split(size), targets.split(size), strict=True):
                input_gradient(model, part, labels)

    work = BATCH * GRADIENTS
    return [Contender(name=f"{size} at once", run=partial(loop, size), work=work) for size in PARTS]


def compiled(network: str, mode: Mode) -> list[Contender]:
    """Return the loop of gradients of our twin, and of the same compiled."""
    images, targets = _attacked()
    eager = twin(trained_network(network), images, mode)
    faster = torch.compile(eager)

    def loop(model: torch.nn.Module) -> None:
        for _ in range(GRADIENTS):
            input_gradient(model, images, targets)

    def check() -> dict[str, float]:
        return {"apart": _apart(*(input_gradient(model, images, targets)[0] for model in (eager, faster)))}

    work = BATCH * GRADIENTS
    return [
        Contender(name="eager", run=partial(loop, eager), work=work),
        Contender(name="compiled", run=partial(loop, faster), work=work, check=check),
    ]


WIDTH, LENGTH, FILTERS, SPANS = 192, 39, 64, (3, 4, 5)
"""Of film reviews and `text_cnn`; their words are 21 in the mean."""


def of_texts(by: str, dtype: torch.dtype = torch.float32) -> list[Contender]:
    """Return what a pass over texts costs, and the gradient by their vectors or by the weights, in two ways.

    Where two windows are all but equal, rounding decides which of them has the gradient.
    """
    drawn = torch.Generator().manual_seed(0)
    lengths = (21 + 9 * torch.randn(BATCH, generator=drawn)).clamp(1, LENGTH)
    words = torch.arange(LENGTH) < lengths.unsqueeze(1)
    vectors = torch.randn(BATCH, LENGTH, WIDTH, generator=drawn, dtype=dtype) * words.unsqueeze(2)
    convs = nn.ModuleList(nn.Conv1d(WIDTH, FILTERS, span, dtype=dtype) for span in SPANS)
    convs.requires_grad_(by == "weights")
    vectors.requires_grad_(by == "vectors")
    wanted = {"nothing": [], "vectors": [vectors], "weights": list(convs.parameters())}[by]
    expected = torch.rand(BATCH, FILTERS * len(SPANS), generator=drawn, dtype=dtype)

    ours = partial(largest_over_time, vectors, words, convs)

    def over_the_box() -> Tensor:
        row = vectors.unsqueeze(1).permute(0, 3, 1, 2)
        largest = []
        for conv, span in zip(convs, SPANS, strict=True):
            windows = F.conv2d(row, conv.weight.unsqueeze(2), conv.bias, padding=(0, span - 1)).squeeze(2)
            seen = F.max_pool1d(F.pad(words.float(), (span - 1, span - 1)).unsqueeze(1), span, stride=1)
            largest.append((windows + (1 - seen) * NOWHERE).amax(dim=2))
        return torch.cat(largest, dim=1)

    def pass_over(way: Callable[[], Tensor]) -> list[Tensor]:
        largest = way()
        return list(torch.autograd.grad((largest * expected).sum(), wanted)) if wanted else [largest]

    def apart() -> dict[str, float]:
        pairs = zip(pass_over(over_the_box), pass_over(ours), strict=True)
        return {"apart": max(_apart(*(of * _meant(words, of) for of in pair)) for pair in pairs)}

    return [
        Contender(name="over words", run=partial(pass_over, ours), work=BATCH, check=apart),
        Contender(name="over the box", run=partial(pass_over, over_the_box), work=BATCH),
    ]


def _meant(words: Tensor, values: Tensor) -> Tensor:
    """Return where `values` mean something: gradients by vectors do at words alone."""
    return words.unsqueeze(2) if values.shape[:2] == words.shape else torch.ones(())


def _apart(expected: Tensor, found: Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


def _attacked() -> tuple[Tensor, Tensor]:
    images, targets = attacked_rows(BATCH)
    return channels_last(images), targets


def cases() -> list[Case]:
    """Return every layer, networks in parts and compiled, and texts, on one thread as stages have."""
    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16}
    layers = [
        (f"layer-{'x'.join(map(str, layer))}-{name}", partial(of_a_layer, layer, dtype), "GFLOP")
        for layer, (name, dtype) in product(LAYERS, dtypes.items())
    ]
    loops = [
        (f"{kind}-{network}-{precision}", partial(make, network, mode), "image-steps")
        for (kind, make), network, (precision, mode) in product(
            (("batch", in_parts), ("compiled", compiled)), ("resnet_s", "resnet_m", "conv4"), MODES.items()
        )
    ]
    texts = [(f"texts-{by}", partial(of_texts, by), "texts") for by in ("nothing", "vectors", "weights")]
    return [
        Case(name=f"{name}-1", contenders=contenders, threads=1, unit=unit, repeats=5)
        for name, contenders, unit in (*layers, *loops, *texts)
    ]


if __name__ == "__main__":
    main("kernels", __doc__, cases())
