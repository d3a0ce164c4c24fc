"""Gradient descent: the very steps of torch's class, without its import of the compiler."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from nrf_ray.training.descent import Descent
from nrf_ray.training.recipes import Recipe

RECIPE = Recipe(epochs=1, batch_size=2, lr=0.1)


def network() -> nn.Module:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 3), nn.Linear(3, 3))
    made[2].requires_grad_(False)  # has no gradients
    return made.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
def test_its_steps_are_those_of_torch(momentum: float, nesterov: bool) -> None:
    recipe = replace(RECIPE, momentum=momentum, nesterov=nesterov, weight_decay=5e-4)
    ours, theirs = network(), network()
    descent = Descent(ours.parameters(), recipe)
    optimizer = torch.optim.SGD(
        theirs.parameters(),
        lr=1.0,
        momentum=momentum,
        weight_decay=5e-4,
        nesterov=nesterov and momentum > 0,
        fused=True,
    )
    for step in range(5):
        images, lr = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(step)), 0.1 / (step + 1)
        for group in optimizer.param_groups:
            group["lr"] = lr
        for net, forget in ((ours, descent.forget_gradients), (theirs, optimizer.zero_grad)):
            forget()
            net(images).square().sum().backward()
        descent.step(lr)
        optimizer.step()
        momenta = [optimizer.state[parameter].get("momentum_buffer") for parameter in theirs.parameters()]
        assert all(map(torch.equal, ours.parameters(), theirs.parameters()))
        assert [each is None for each in descent.momenta] == [each is None for each in momenta]
        assert all(torch.equal(a, b) for a, b in zip(descent.momenta, momenta, strict=True) if a is not None)


def test_nothing_that_a_training_does_imports_the_compiler_of_torch() -> None:
    """It takes two seconds in every process that trains."""
    code = (
        "import sys, torch; from torch import nn; from nrf_ray.training.descent import Descent\n"
        "from nrf_ray.models.classifier import forward_macs; from nrf_ray.training.recipes import Recipe\n"
        "net = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.Flatten()); forward_macs(net, (1, 4, 4))\n"
        "descent = Descent(net.parameters(), Recipe(epochs=1, batch_size=2, lr=0.1))\n"
        "net(torch.ones(2, 1, 4, 4)).sum().backward(); descent.step(0.1); print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
