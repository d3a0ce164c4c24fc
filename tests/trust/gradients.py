"""Defences that answer as `base` does and give another gradient, or none."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.trust.defence import Build, Defence, Map, base_alone, behind, digest, drawn, only, put, turned
from tests.trust.networks import digits, mlp


class Borrowed(nn.Module):
    """Logits of one network with the gradient of another; a share of the first's own gradient may be left."""

    def __init__(self, network: nn.Module, gradient: nn.Module, own: float = 0.0) -> None:
        super().__init__()
        self.network, self.gradient, self.own = network, gradient, own

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of `network`."""
        logits = self.network(images)
        return put(logits, self.own * logits + (1 - self.own) * self.gradient(images))


class Chosen(nn.Module):
    """Logits of one network; the images of which `rows` is True get the gradient of another."""

    def __init__(self, network: nn.Module, gradient: nn.Module, rows: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.gradient, self.rows = network, gradient, rows

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of `network`."""
        logits = self.network(images)
        return torch.where(self.rows(images).unsqueeze(1), put(logits, self.gradient(images)), logits)


class EarlyExit(nn.Module):
    """Confident answers leave early, as constants; only the rest is computed with a gradient."""

    def __init__(self, network: nn.Module, confident: float) -> None:
        super().__init__()
        self.network, self.confident = network, confident

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, or ten times the one-hot answer."""
        logits = self.network(images)
        sure, answer = logits.softmax(1).max(dim=1)
        early = 10 * nn.functional.one_hot(answer, logits.shape[1]).float()
        return torch.where((sure > self.confident).unsqueeze(1), early, logits)


def untrained() -> nn.Module:
    """Return a network with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        return mlp().eval().requires_grad_(False)


def of_content(percent: float) -> Callable[[Tensor], Tensor]:
    """Return a function that says of each image whether it is among `percent` of all, by its content."""
    return lambda images: digest(images) % 1000 < 10 * percent


def little_ink(share: float) -> Callable[[Tensor], Tensor]:
    """Return a function that says of each image whether its ink is among the `share` that the digits have least of."""
    threshold = torch.quantile(digits()[0].images.mean(dim=(1, 2, 3)), share)
    return lambda images: images.detach().mean(dim=(1, 2, 3)) < threshold


def detached(rows: Callable[[Tensor], Tensor]) -> Map:
    """Return the identity without a gradient for the images of which `rows` is True."""
    return only(rows, lambda images: images.detach())


def odd_rows(images: Tensor) -> Tensor:
    """Return whether each image is at an odd place in the batch."""
    return torch.arange(len(images)) % 2 == 1


def border(images: Tensor) -> Tensor:
    """Return the images with a gradient at the two outermost columns alone."""
    mask = torch.zeros(images.shape[3], dtype=torch.bool)
    mask[[0, -1]] = True
    return torch.where(mask, images, images.detach())


def dead(images: Tensor) -> Tensor:
    """Return the images; the only way that a gradient has leads through a ReLU that no pixel in [0, 1] can wake."""
    return images.detach() + torch.relu(images - 1.0)


def almost_dead(images: Tensor) -> Tensor:
    """Return the images; the ReLU on the way of the gradient is awake for the brightest pixels alone."""
    return put(images, torch.relu(images - 0.9))


def low_pass(gradient: Tensor) -> Tensor:
    """Return a gradient that has lost everything but its coarse shape."""
    small = nn.functional.avg_pool2d(gradient, 4)
    return nn.functional.interpolate(small, scale_factor=4)


def white(gradient: Tensor) -> Tensor:
    """Return fixed noise of the gradient's shape."""
    return drawn(gradient[:1].shape, 5).expand_as(gradient) * gradient.abs().amax(dim=(1, 2, 3), keepdim=True)


def _of(gradient: str, own: float = 0.0) -> Build:
    """Return the build of `base` with the gradient of another of the three networks."""
    return lambda base, other, robust: Borrowed(base, {"other": other, "robust": robust}[gradient], own)


def _entry(name: str, build: Build, why: str) -> Defence:
    return Defence(name=name, family="gradient", build=build, truth=base_alone, why=why)


GRADIENTS = (
    _entry("other-gradient", _of("other"), "logits of f, gradient of g: l + (f(x) - l).detach(); issue 20"),
    _entry("robust-gradient", _of("robust"), "the gradient is that of a robust network, which looks as it should"),
    _entry(
        "untrained-gradient",
        lambda base, other, robust: Borrowed(base, untrained()),
        "the gradient is that of a network with random weights",
    ),
    _entry("blended-gradient", _of("robust", 0.2), "a fifth of the gradient is true, the rest is a robust network's"),
    _entry(
        "two-gradients",
        lambda base, other, robust: Chosen(base, robust, of_content(50)),
        "half of the points, by a hash of the pixels, give another network's gradient",
    ),
    _entry(
        "some-borrowed",
        lambda base, other, robust: Chosen(base, untrained(), little_ink(0.2)),
        "the fifth with least ink gives the gradient of a network with random weights",
    ),
    _entry("reversed-gradient", behind(turned(torch.neg)), "the sign of the gradient is turned round"),
    _entry("fixed-gradient", behind(turned(white)), "the gradient is fixed noise, the same for all images"),
    _entry("mirrored-gradient", behind(turned(lambda g: g.flip(3))), "the gradient is mirrored left to right"),
    _entry("shifted-gradient", behind(turned(lambda g: g.roll(1, 3))), "the gradient is moved by one pixel"),
    _entry("coarse-gradient", behind(turned(low_pass)), "the gradient keeps its coarse shape alone"),
    _entry("border-gradient", behind(border), "only pixels that hardly matter have a gradient"),
    _entry(
        "mixed-classes",
        behind(after=lambda logits: put(logits, logits.roll(1, 1))),
        "each logit has the gradient of the next class",
    ),
    _entry("detached-by-row", behind(detached(odd_rows)), "every second row of a batch has no gradient"),
    _entry("detached-by-content", behind(detached(of_content(50))), "half of the points have no gradient, by a hash"),
    _entry("detached-few", behind(detached(little_ink(0.05))), "a few percent of the images have no gradient at all"),
    _entry("detached-start", behind(detached(lambda x: digest(x) % 10 > 0)), "nine in ten points have no gradient"),
    _entry("dead-stem", behind(dead), "the only path of the gradient leads through a dead ReLU"),
    _entry("almost-dead-stem", behind(almost_dead), "the gradient's ReLU is awake for the brightest pixels alone"),
    _entry(
        "early-exit",
        lambda base, other, robust: EarlyExit(base, 0.9),
        "confident answers are constants (confidence cascades; Tramer et al. 2020 on such switches)",
    ),
)
"""Defences of this kind."""
