"""The twin that attacks compute on: the same function, cheaper; the network stays as it was."""

import copy
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nrf_ray.attacks import pgd
from nrf_ray.engine import Twin, twin
from nrf_ray.errors import ConfigError
from nrf_ray.evaluation import predict
from nrf_ray.models.stem import FewChannelConv2d, input_gradient
from nrf_ray.models.zoo import build
from nrf_ray.precision import has_bfloat16
from nrf_ray.threat import ThreatModel

FOLDED = {"vgg_s": 5, "inception_s": 22, "resnet_s": 9, "resnet_m": 15, "resnet_b": 9, "densenet_s": 0}
"""How many BatchNorms each small network has behind a convolution."""


def with_statistics(network: nn.Module) -> nn.Module:
    """Give every BatchNorm of `network` other statistics and weights than the ones that change nothing."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.1, generator=generator)
    return network


def made(arch: str, channels: int = 1, size: int = 8) -> nn.Module:
    network = build(
        arch, shape=(channels, size, size), num_classes=10, mean=(0.3,) * channels, std=(0.4,) * channels, seed=0
    )
    return with_statistics(network)


def pictures(n: int = 6, channels: int = 1, size: int = 8) -> torch.Tensor:
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(1))


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


class Odd(nn.Module):
    """A network with one trait that forbids folding."""

    def __init__(self, trait: str) -> None:
        super().__init__()
        self.trait = trait
        self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        if trait == "hooked":
            self.norm.register_forward_hook(lambda module, inputs, output: output + 1)
        if trait == "a subclass":
            self.norm = Doubling(4)
        if trait == "two names":
            self.alias = self.norm
        self.head = nn.Linear(4 * 36, 10)

    def forward(self, images):
        convolved = self.conv(images)
        found = self.norm(convolved)
        if self.trait == "read twice":
            found = found + convolved
        if self.trait == "called twice":
            found = found + self.norm(self.conv(images / 2))
        if self.trait == "norm shared":
            found = self.norm(found)
        if self.trait == "random":
            found = found * torch.rand(())
        if self.trait == "changed between":
            found = self.norm(convolved.clamp_(min=0.0))
        return self.head(found.flatten(1))


class Doubling(nn.BatchNorm2d):
    """Does more than its class says."""

    def forward(self, images):
        return 2 * super().forward(images)


@pytest.mark.parametrize(
    "trait", ["hooked", "a subclass", "read twice", "called twice", "norm shared", "random", "changed between"]
)
def test_what_cannot_be_folded_is_left_alone(trait):
    torch.manual_seed(0)
    network = with_statistics(Odd(trait)).eval()
    found = Twin(network, pictures())
    assert found.pairs == []
    if trait != "random":
        with torch.no_grad():
            assert torch.allclose(found(pictures()), network(pictures()), atol=1e-5)


def test_a_plain_pair_is_folded():
    """The control of the test above."""
    assert [tuple(pair) for pair in Twin(with_statistics(Odd("none")), pictures()).pairs] == [("conv", "norm")]


def test_random_numbers_of_others_are_not_used_up():
    network = Odd("random")
    torch.manual_seed(0)
    Twin(network, pictures())
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(1))


def test_a_network_that_cannot_be_copied_is_refused():
    network = made("vgg_s")
    network.lock = threading.Lock()
    with pytest.raises(ConfigError, match=r"the Classifier holds what cannot be copied.*lock"):
        Twin(network, pictures())


class Remembering(nn.Module):
    """A network that remembers what its last pass computed."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.seen = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), {}

    def forward(self, images):
        self.last = self.norm(self.conv(images))
        self.seen["maps"] = [self.last]
        return self.last.mean(dim=(2, 3))


def normed(norm) -> nn.Module:
    """Return a network whose weights a hook of the old kind makes before every pass."""
    return nn.Sequential(norm(nn.Conv2d(3, 4, 3, 1, 1)), nn.BatchNorm2d(4), nn.Flatten(), norm(nn.Linear(256, 10)))


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize(
    ("network", "channels"),
    [(Remembering, 1), (lambda: normed(nn.utils.weight_norm), 3), (lambda: normed(nn.utils.spectral_norm), 3)],
    ids=["activations", "weight_norm", "spectral_norm"],
)
def test_a_network_that_keeps_what_it_computed_has_a_twin(network, channels):
    """Regression: torch copies only tensors that a user has made, so such a network was refused once it had run."""
    torch.manual_seed(0)
    network, images = with_statistics(network()), pictures(channels=channels)
    network.train()(images).sum().backward()
    network.eval()
    network(images)
    found = Twin(network, images)
    with torch.no_grad():
        assert torch.allclose(found(images), network(images), atol=1e-5)
        for parameter in network.parameters():
            parameter.mul_(1.3)
        expected = network(images)
        found.refresh()
        assert torch.allclose(found(images), expected, atol=1e-5 * float(expected.abs().max()))
    attack = {"threat": ThreatModel(norm="l2", eps=1.0), "steps": 3, "step_size": 0.5}
    attacked = pgd(network, images, torch.zeros(6, dtype=torch.long), **attack)
    assert all(p.requires_grad for p in network.parameters())
    assert (attacked - images).flatten(1).norm(dim=1).min() > 0.1


class OfEight(nn.Module):
    """A network that takes eight images at a time and no other number."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images):
        return self.norm(self.conv(images)).reshape(8, 4, 36).mean(dim=2)


def test_a_network_of_one_batch_size_can_be_attacked_on_such_a_batch():
    """Regression: it was tried on two images, which it does not take."""
    network, images = with_statistics(OfEight()).eval(), pictures(8)
    found = Twin(network, images)
    assert len(found.pairs) == 1
    with torch.no_grad():
        assert torch.allclose(found(images), network(images), atol=1e-5)
    attack = {"threat": ThreatModel(norm="l2", eps=1.0), "steps": 2, "step_size": 0.5}
    assert pgd(network, images, torch.zeros(8, dtype=torch.long), **attack).shape == images.shape
    with pytest.raises(RuntimeError, match="shape"):
        Twin(network, pictures(6))


def test_a_twin_serves_attacks_of_its_own_mode_only():
    found = twin(made("vgg_s"), pictures())
    assert twin(found, pictures()) is found
    with pytest.raises(
        ConfigError, match="a twin made for the mode 'faithful' cannot serve an attack in the mode 'fast"
    ):
        twin(found, pictures(), "fast")


def test_the_fast_mode_is_refused_where_bfloat16_would_be_emulated(monkeypatch):
    monkeypatch.setattr("nrf_ray.precision.has_bfloat16", lambda kind: False)
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


class Enlarged(nn.Module):
    """A network that shows its classifier other images than it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = made("vgg_s", 3, 16)

    def forward(self, images):
        return self.classifier(F.interpolate(images.expand(-1, 3, -1, -1), scale_factor=2.0))


class Choosing(nn.Module):
    """A network whose way depends on the image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.dark, self.bright = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, images):
        norm = self.bright if images.mean() > 0.4 else self.dark
        return norm(self.conv(images)).mean(dim=(2, 3))


class Keyed(nn.Module):
    """A network that calls functions by keywords, and has a BatchNorm without statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.bare = (
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.BatchNorm2d(4, track_running_stats=False),
        )

    def forward(self, images):
        convolved = F.conv2d(input=images, weight=self.conv.weight, bias=self.conv.bias)
        mean, var = self.norm.running_mean, self.norm.running_var
        normed = F.batch_norm(input=convolved, running_mean=mean, running_var=var, weight=self.norm.weight)
        return self.bare(normed).mean(dim=(2, 3)) + self.norm.running_var.mean()


@pytest.mark.parametrize("network", [Enlarged, Choosing, Keyed])
@pytest.mark.parametrize("brightness", [1.0, 0.3])
def test_unusual_networks_have_twins_that_are_the_same_function(network, brightness):
    network = with_statistics(network()) if network is not Keyed else network()
    found = Twin(network.eval(), pictures())
    with torch.no_grad():
        assert torch.allclose(found(brightness * pictures()), network(brightness * pictures()), atol=1e-5)


def test_a_twin_of_a_network_that_gives_no_numbers_is_not_folded():
    network = made("resnet_s")
    network.head.bias.data[0] = torch.nan
    assert Twin(network, pictures()).pairs == []


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
