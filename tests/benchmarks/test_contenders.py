"""What the benchmarks compare with is right: the bare loop's gradient, the folded network, the watched memory."""

import os
import subprocess
import sys
import time

import pytest
import torch
import torch.nn.functional as F

from tests.benchmarks.bare import InBfloat16, bare_loop, folded
from tests.benchmarks.kernels import Layer, of_a_layer, of_texts
from tests.benchmarks.main_job import SIZES
from tests.benchmarks.networks import network
from tests.benchmarks.processes import MemoryWatch, memory_of


@pytest.fixture(scope="module")
def subject():
    """A network in CIFAR shape whose BatchNorm has seen images, two images and two targets."""
    model = network("conv4").train()
    images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model(images)
    return model.eval().requires_grad_(False), images[:2], torch.tensor([3, 7])


def test_the_bare_loop_takes_the_gradient_of_the_summed_loss(subject):
    model, images, targets = subject
    tracked = images.clone().requires_grad_(True)
    F.cross_entropy(model(tracked), targets, reduction="sum").backward()
    assert torch.allclose(bare_loop(model, images, targets, steps=2), tracked.grad, atol=1e-6)


def test_folding_and_bfloat16_leave_the_network_what_it_is(subject):
    model, images, _ = subject
    with torch.no_grad():
        expected = model(images)
        assert torch.allclose(folded(model)(images), expected, atol=1e-4)
        in_bfloat16 = InBfloat16(model)(images)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded(model).modules())
    assert in_bfloat16.dtype == torch.float32
    assert torch.allclose(in_bfloat16, expected, atol=0.05)
    assert not torch.equal(in_bfloat16, expected)


def test_the_ways_of_a_convolution_do_the_same_work():
    ways = {way.name: way.run for way in of_a_layer(Layer(channels=8, side=6, batch=3), torch.float32)[1:]}
    assert torch.allclose(ways["forward with ReLU"](), ways["forward"]().relu(), atol=1e-5)
    gradient, _, _ = ways["gradient by the input"]()
    assert torch.allclose(ways["the same as a forward pass"](), gradient, atol=1e-4)


@pytest.mark.parametrize("by", ["nothing", "vectors", "weights"])
def test_texts_over_words_are_those_over_the_box(by):
    ours, _ = of_texts(by, torch.float64)
    assert ours.check()["apart"] < 1e-12, "rounding; in float32 it decides between windows that are all but equal"


def test_memory_of_a_child_is_seen_while_it_lives():
    hold = "import time; held = bytearray(300 * 2**20); time.sleep(30)"
    child = subprocess.Popen([sys.executable, "-c", hold])
    try:
        with MemoryWatch() as watch:
            until = time.monotonic() + 20
            while min(watch.largest_sum, watch.largest_process) < 300 and time.monotonic() < until:
                time.sleep(0.05)
    finally:
        child.kill()
        child.wait()
    assert 300 < watch.largest_sum < 400
    assert 300 < watch.largest_process < 400
    assert watch.largest_worker == 0, "it is no process of Ray's"
    assert memory_of(child.pid) == ("", 0.0, 0.0)
    assert memory_of(os.getpid())[1] > 50


def test_cells_are_counted_as_the_sequential_script_counts_them():
    """A victim and three adversarial sets for each architecture, three controls for two of them."""
    assert {size.name: size.cells for size in SIZES} == {"one": 7, "archs": 26, "radii": 52, "default": 156}
