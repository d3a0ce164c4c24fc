"""Twins of networks that nobody expects: the same function, whatever the network does, or a refusal."""

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nrf_ray.attacks.pgd import pgd
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.engine.twin import Twin
from nrf_ray.errors import ConfigError
from tests.networks import made, pictures, with_statistics


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
    with pytest.raises(ConfigError, match=r"the Classifier holds something that cannot be copied.*lock"):
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
