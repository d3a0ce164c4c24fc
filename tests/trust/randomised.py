"""Defences that add noise: anew in every pass, by the place in a batch, or by a hash of the image's content."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor, nn

from nrf_ray.training.recipes import Augmentation
from tests.trust.defence import Behind, Build, Defence, Map, Mean, behind, digest, drawn, mean_answer, noise_of, put
from tests.trust.networks import PLAIN, cnn, digits, train

DRAWS = 10
"""Fixed draws of a noise that truth averages over (expectation over transformation, Athalye et al. 2018)."""


class Draws:
    """Functions of images with noise of their own generator, which every pass advances."""

    def __init__(self, change: Callable[[Tensor, torch.Generator], Tensor]) -> None:
        """`change` takes images and the generator."""
        self.change, self.generator = change, torch.Generator().manual_seed(17)

    def __call__(self, images: Tensor) -> Tensor:
        """Return the changed images."""
        return self.change(images, self.generator)


def each_pass(change: Callable[[Tensor, torch.Generator], Tensor]) -> Build:
    """Return the build of `base` behind a change with noise of every pass."""
    return lambda base, other, robust: Behind(base, before=Draws(change))


def gaussian(scale: float) -> Callable[[Tensor, torch.Generator], Tensor]:
    """Return the addition of normal noise."""
    return lambda images, generator: images + scale * torch.randn(images.shape, generator=generator)


def dropped(share: float) -> Callable[[Tensor, torch.Generator], Tensor]:
    """Return the blackening of a share of the pixels."""
    return lambda images, generator: images * (torch.rand(images.shape, generator=generator) > share)


def moved(images: Tensor, steps: Tensor) -> Tensor:
    """Return each image moved by one of nine steps [b] of 0..8: at most a pixel each way, black behind it."""
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    height, width = images.shape[2:]
    views = [padded[:, :, step // 3 : step // 3 + height, step % 3 : step % 3 + width] for step in range(9)]
    return torch.stack(views)[steps, torch.arange(len(images))]


def random_steps(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images moved at random (random padding, Xie et al. 2018)."""
    return moved(images, torch.randint(0, 9, (len(images),), generator=generator))


def by_batch(images: Tensor) -> Tensor:
    """Return images with noise that the number of images in the batch decides."""
    return images + 0.25 * drawn(images.shape, len(images))


def by_row(images: Tensor) -> Tensor:
    """Return images with noise that the place in the batch decides."""
    return images + 0.25 * drawn((256, *images.shape[1:]), 3)[torch.arange(len(images)) % 256]


def by_content(scale: float) -> Map:
    """Return the addition of uniform noise that the content decides."""
    return lambda images: images + scale * noise_of(images)


def deflected(images: Tensor) -> Tensor:
    """Return images of which a fifth of the pixels, by content, are their neighbours (Prakash et al. 2018)."""
    return torch.where(noise_of(images).detach() > 0.6, images.roll(1, 3), images)


def mixed(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images mixed with others of the training set (mixup inference, Pang et al. 2020)."""
    train = digits()[0].images
    return 0.7 * images + 0.3 * train[torch.randint(0, len(train), (len(images),), generator=generator)]


class Switched(nn.Module):
    """One of several networks answers for each image: by its content, or at random in every pass."""

    def __init__(self, networks: tuple[nn.Module, ...], *, content: bool) -> None:
        super().__init__()
        self.networks, self.content = nn.ModuleList(networks), content
        self.generator = torch.Generator().manual_seed(23)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of the chosen networks."""
        logits = torch.stack([network(images) for network in self.networks])
        count = len(logits)
        chosen = digest(images) if self.content else torch.randint(0, 2**24, (len(images),), generator=self.generator)
        return logits[chosen % count, torch.arange(len(images))]


class Together(nn.Module):
    """The mean probabilities of several networks, as logarithms."""

    def __init__(self, networks: tuple[nn.Module, ...]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logarithms."""
        return mean_answer(torch.stack([network(images) for network in self.networks]))


class Copies(nn.Module):
    """Noisy copies of each image, always with the same noise, whose logits are combined."""

    def __init__(self, network: nn.Module, combine: Map, *, soft: Map | None = None) -> None:
        """`combine` maps logits [copies, b, k] to [b, k]; `soft` gives it another gradient."""
        super().__init__()
        self.network, self.combine, self.soft = network, combine, soft

    def forward(self, images: Tensor) -> Tensor:
        """Return the combined logits."""
        copies = images.unsqueeze(0) + 0.2 * drawn((8, 1, *images.shape[1:]), 31)
        logits = self.network(copies.flatten(0, 1)).unflatten(0, copies.shape[:2])
        combined = self.combine(logits)
        return combined if self.soft is None else put(combined, self.soft(logits))


def highest(logits: Tensor) -> Tensor:
    """Return the logits of the copy that is surest, for each image."""
    sure = logits.softmax(2).amax(2)
    return logits[sure.argmax(0), torch.arange(logits.shape[1])]


def votes(logits: Tensor) -> Tensor:
    """Return the number of copies that say each class; a millionth of the mean decides between equal numbers."""
    counted = nn.functional.one_hot(logits.argmax(2), logits.shape[2]).sum(0).float()
    return counted + 1e-3 * logits.softmax(2).mean(0).detach() + 0 * logits.mean(0)


class Dropping(nn.Module):
    """A network whose last hidden units are dropped at random, also at test time: by pass, or by content."""

    def __init__(self, network: nn.Module, share: float, *, content: bool) -> None:
        """`network` is a Sequential that ends with a linear layer of at most 128 units."""
        super().__init__()
        *body, self.head = network
        self.body, self.share, self.content = nn.Sequential(*body), share, content
        self.generator = torch.Generator().manual_seed(29)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        units = self.body(images)
        if self.content:
            noise = torch.cat([noise_of(images, salt=salt).flatten(1) for salt in (5, 6)], dim=1)
            uniform = noise[:, : units.shape[1]].add(1).div(2)
        else:
            uniform = torch.rand(units.shape, generator=self.generator)
        logits: Tensor = self.head(units * (uniform > self.share) / (1 - self.share))
        return logits


def over(variants: Callable[[Tensor], list[Tensor]]) -> Build:
    """Return the build of the mean probability of `base` over fixed variants of each image."""
    return lambda base, other, robust: Mean(base, variants)


def over_noise(scale: float, *, uniform: bool = False) -> Build:
    """Return the build of the mean over fixed noise."""

    def noise(image: Tensor, draw: int) -> Tensor:
        normal = drawn(image[:1].shape, 100 + draw)
        return scale * (torch.erf(normal / 2**0.5) if uniform else normal)

    return over(lambda images: [images + noise(images, draw) for draw in range(DRAWS)])


def over_generators(change: Callable[[Tensor, torch.Generator], Tensor]) -> Build:
    """Return the build of the mean over fixed seeds of a change."""
    return over(lambda images: [change(images, torch.Generator().manual_seed(draw)) for draw in range(DRAWS)])


def over_deflections(images: Tensor) -> list[Tensor]:
    """Return variants as `deflected` makes them, with other pixels in each."""
    masks = [torch.rand(images[:1].shape, generator=torch.Generator().manual_seed(draw)) > 0.8 for draw in range(DRAWS)]
    return [torch.where(mask, images.roll(1, 3), images) for mask in masks]


def over_steps(images: Tensor) -> list[Tensor]:
    """Return the nine moved variants of each image."""
    return [moved(images, torch.full((len(images),), step)) for step in range(9)]


@cache
def shifted() -> nn.Module:
    """Return a network that was trained on moved images."""
    return train(cnn, replace(PLAIN, epochs=60, augmentation=Augmentation(pad=1)), seed=8)


def steps_of_content(images: Tensor) -> Tensor:
    """Return images moved by a step that the content decides."""
    return moved(images, digest(images) % 9)


def _all_steps(base: nn.Module, other: nn.Module, robust: nn.Module) -> nn.Module:
    return Mean(shifted(), over_steps)


def _of_three(make: Callable[[tuple[nn.Module, ...]], nn.Module]) -> Build:
    return lambda base, other, robust: make((base, other, robust))


def _entry(name: str, build: Build, truth: Build, why: str, *, samples: bool = False) -> Defence:
    return Defence(name=name, family="random", build=build, truth=truth, why=why, expected=True, samples=samples)


def _exact(name: str, combine: Map, soft: Map, why: str) -> Defence:
    return Defence(
        name=name,
        family="random",
        build=lambda base, other, robust: Copies(base, combine),
        truth=lambda base, other, robust: Copies(base, combine, soft=soft),
        why=why,
    )


RANDOMISED = (
    _entry("noise-by-pass", each_pass(gaussian(0.25)), over_noise(0.25), "noise anew in every pass", samples=True),
    _entry("noise-by-batch", behind(by_batch), over_noise(0.25), "noise by the number of images", samples=True),
    _entry("noise-by-row", behind(by_row), over_noise(0.25), "noise by the place in the batch", samples=True),
    _entry("noise-by-content", behind(by_content(0.4)), over_noise(0.4, uniform=True),
           "noise by a hash of the pixels: five passes agree, no two points do"),
    _entry("little-noise-by-content", behind(by_content(0.15)), over_noise(0.15, uniform=True),
           "less noise by a hash of the pixels"),
    _entry("dropout-by-pass", each_pass(dropped(0.2)), over_generators(dropped(0.2)), "black pixels", samples=True),
    _entry("unit-dropout", lambda base, other, robust: Dropping(base, 0.2, content=False),
           lambda base, other, robust: base, "dropout at test time (Dhillon et al. 2018)", samples=True),
    _entry("unit-dropout-by-content", lambda base, other, robust: Dropping(base, 0.2, content=True),
           lambda base, other, robust: base, "dropout by a hash of the pixels"),
    _entry("padding-by-pass", lambda base, other, robust: Behind(shifted(), before=Draws(random_steps)), _all_steps,
           "random padding (Xie et al. 2018; Athalye et al. 2018)", samples=True),
    _entry("padding-by-content", lambda base, other, robust: Behind(shifted(), before=steps_of_content), _all_steps,
           "padding by a hash of the pixels"),
    _entry("deflection-by-content", behind(deflected), over(over_deflections),
           "pixel deflection (Prakash et al. 2018; Athalye and Carlini 2018)"),
    _entry("mixup-inference", each_pass(mixed), over_generators(mixed), "Pang et al. 2020; Tramer et al. 2020",
           samples=True),
    _entry("switch-by-pass", _of_three(lambda three: Switched(three, content=False)), _of_three(Together),
           "a random one of three networks answers", samples=True),
    _entry("switch-by-content", _of_three(lambda three: Switched(three, content=True)), _of_three(Together),
           "one of three networks answers, by a hash of the pixels"),
    _exact("surest-copy", highest, lambda logits: logits.logsumexp(0),
           "the surest of noisy copies answers: its gradient is of one copy"),
    _exact("maximum-of-copies", lambda logits: logits.amax(0), lambda logits: logits.mean(0),
           "the largest logits of noisy copies"),
    _exact("smoothed-votes", votes, mean_answer,
           "votes of noisy copies have no gradient (Cohen et al. 2019, at prediction)"),
)  # fmt: skip
"""Defences of this kind."""
