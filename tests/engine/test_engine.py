"""The twin that attacks compute on: the same function, cheaper; the network stays as it was."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nrf_ray.attacks.pgd import pgd
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.engine.precision import has_bfloat16
from nrf_ray.engine.predict import predict
from nrf_ray.engine.twin import Twin, twin
from nrf_ray.errors import ConfigError
from nrf_ray.models.stem import FewChannelConv2d, input_gradient
from tests.networks import made, pictures

FOLDED = {"vgg_s": 5, "inception_s": 22, "resnet_s": 9, "resnet_m": 15, "resnet_b": 9, "densenet_s": 0}
"""How many BatchNorms each small network has behind a convolution."""


@pytest.mark.parametrize("arch", FOLDED)
def test_a_twin_is_the_same_function_with_batch_norm_folded(arch):
    network, images = made(arch), pictures()
    found = Twin(network, images)
    assert len(found.pairs) == FOLDED[arch]
    assert sum(type(m) is nn.BatchNorm2d for m in found.modules()) == sum(
        type(m) is nn.BatchNorm2d for m in network.modules()
    ) - len(found.pairs)
    with torch.no_grad():
        assert torch.allclose(found(images), network.eval()(images), atol=1e-5)


@pytest.mark.parametrize("arch", ["resnet18", "densenet121"])
def test_published_networks_are_folded_too(arch):
    network, images = made(arch, 3, 32), pictures(2, 3, 32)
    found = Twin(network, images)
    assert len(found.pairs) == {"resnet18": 20, "densenet121": 59}[arch]
    with torch.no_grad():
        expected = network.eval()(images)
        assert torch.allclose(found(images), expected, atol=1e-4 * expected.abs().max())


def test_gradients_by_the_input_are_the_networks_up_to_rounding():
    network, images = made("resnet_s").eval(), pictures()
    found = Twin(network, images)

    def gradient(of):
        tracked = images.clone().requires_grad_(True)
        return torch.autograd.grad(of(tracked).square().sum(), tracked)[0]

    assert torch.allclose(gradient(found), gradient(network), atol=1e-5 * gradient(network).abs().max())


def test_the_network_is_left_as_it_was():
    network = made("resnet_s").train()
    network.head.weight.requires_grad_(False)
    before = copy.deepcopy(network.state_dict())
    pgd(
        network,
        pictures(),
        torch.zeros(6, dtype=torch.long),
        threat=ThreatModel(norm="l2", eps=1.0),
        steps=2,
        step_size=1,
    )
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(module.training for module in network.modules())
    assert [name for name, p in network.named_parameters() if not p.requires_grad] == ["head.weight"]
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("arch", ["resnet_s", "densenet_s"])
def test_a_refreshed_twin_follows_the_weights(arch):
    network, images = made(arch), pictures()
    found = Twin(network, images)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.2)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.add_(0.1)
        expected = network.eval()(images)
        found.refresh()
        assert torch.allclose(found(images), expected, atol=1e-5 * expected.abs().max())


def test_a_twin_serves_attacks_of_its_own_mode_only():
    found = twin(made("vgg_s"), pictures())
    assert twin(found, pictures()) is found
    with pytest.raises(
        ConfigError, match="a twin made for the mode 'faithful' cannot serve an attack in the mode 'fast"
    ):
        twin(found, pictures(), "fast")


def test_the_fast_mode_is_refused_where_bfloat16_would_be_emulated(monkeypatch):
    monkeypatch.setattr("nrf_ray.engine.precision.has_bfloat16", lambda kind: False)
    with pytest.raises(ConfigError, match="which this cpu device does not have"):
        Twin(made("vgg_s"), pictures(), "fast")


@pytest.mark.skipif(not has_bfloat16("cpu"), reason="this CPU has no bfloat16")
@pytest.mark.parametrize("arch", FOLDED)
def test_the_fast_mode_computes_in_bfloat16_and_is_close(arch):
    network, images = made(arch).eval(), pictures(16)
    found = Twin(network, images, "fast")
    with torch.no_grad():
        fast, exact = found(images), network(images)
    assert fast.dtype == torch.bfloat16
    assert (fast.float() - exact).abs().max() < 0.05 * exact.abs().max()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [3, 5, 7])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(8, 8), (6, 10)])
def test_the_quick_gradient_of_a_stem_is_the_gradient(stride, side, channels, size):
    """Whole numbers have no rounding, so both ways of summing must agree to the last bit."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randint(-3, 4, (5, channels, side, side), generator=generator).float()
    images = torch.zeros(2, channels, *size, requires_grad=True)
    output = F.conv2d(images, weight, None, stride, side // 2)
    gradient = torch.randint(-3, 4, output.shape, generator=generator).float()
    (expected,) = torch.autograd.grad(output, images, gradient)
    assert torch.equal(input_gradient(gradient, weight, images.shape, stride), expected)


@pytest.mark.parametrize(
    ("conv", "quick"),
    [
        (nn.Conv2d(3, 8, 3, 1, 1), True),
        (nn.Conv2d(1, 8, 3, 2, 1), True),
        (nn.Conv2d(1, 8, 3, 1, 1), False),
        (nn.Conv2d(16, 8, 3, 1, 1), False),
        (nn.Conv2d(3, 8, 3, 1, 0), False),
        (nn.Conv2d(3, 8, 4, 2, 1), False),
        (nn.Conv2d(3, 8, 3, 3, 1), False),
        (nn.Conv2d(4, 8, 3, 1, 1, groups=2), False),
        (nn.Conv2d(3, 8, 3, 1, 1, dilation=2), False),
        (nn.Conv2d(3, 8, 3, 1, 1, padding_mode="reflect"), False),
        (nn.Conv2d(3, 8, 3, 1, "same"), False),
        (nn.Conv2d(3, 8, 1, 1, 0), False),
    ],
)
def test_only_stems_that_gain_are_replaced(conv, quick):
    images = pictures(2, conv.in_channels, 8)
    network = nn.Sequential(conv, nn.ReLU())
    found = Twin(network, images)
    assert isinstance(found.network[0], FewChannelConv2d) is quick
    assert type(network[0]) is nn.Conv2d
    tracked, same = images.clone().requires_grad_(True), images.clone().requires_grad_(True)
    with torch.no_grad():
        assert torch.allclose(found(images), network(images), atol=1e-6)
    (gradient,) = torch.autograd.grad(found(tracked).square().sum(), tracked)
    (expected,) = torch.autograd.grad(network(same).square().sum(), same)
    assert torch.allclose(gradient, expected, atol=1e-5)


def test_a_quick_stem_takes_images_of_odd_size():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    images = pictures(2, 3, 7)
    tracked, same = images.clone().requires_grad_(True), images.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(Twin(network, images)(tracked).square().sum(), tracked)
    (expected,) = torch.autograd.grad(network(same).square().sum(), same)
    assert torch.allclose(gradient, expected, atol=1e-6)


def test_nothing_is_attacked_for_no_images_and_no_steps_are_refused():
    attack = {"threat": ThreatModel(norm="l2", eps=1.0), "step_size": 1.0}
    none, labels = pictures()[:0], torch.zeros(0, dtype=torch.long)
    assert pgd(made("vgg_s"), none, labels, steps=2, **attack).shape == (0, 1, 8, 8)
    with pytest.raises(ConfigError, match="an attack takes steps >= 1, not 0"):
        pgd(made("vgg_s"), pictures(), torch.zeros(6, dtype=torch.long), steps=0, **attack)


@pytest.mark.skipif(not has_bfloat16("cpu"), reason="this CPU has no bfloat16")
def test_a_fast_twin_is_judged_by_its_network():
    network, images = made("resnet_s").eval(), pictures(64)
    dtypes = []
    network.head.register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
    fast = Twin(network, images, "fast")
    dtypes.clear()
    assert torch.equal(predict(fast, images), predict(network, images))
    assert set(dtypes) == {torch.float32}
