"""Defences that clean or normalise the image first, outside the gradient or with an identity for it."""

import torch
from torch import Tensor, nn

from tests.trust.defence import Behind, Build, Defence, Map, Mean, behind, drawn, put, straight
from tests.trust.networks import digits


def nearest(images: Tensor) -> Tensor:
    """Return the training image that is nearest to each image (projection to the data; quilting, Guo et al. 2018)."""
    train = digits()[0].images
    return train[torch.cdist(images.flatten(1), train.flatten(1)).argmin(dim=1)]


def soft_nearest(images: Tensor) -> Tensor:
    """Return the nearest training image, with the gradient of the mean of all, weighted by their distance."""
    train = digits()[0].images.flatten(1)
    weights = torch.cdist(images.flatten(1), train).pow(2).mul(-8).softmax(dim=1)
    return put(nearest(images), (weights @ train).view(images.shape))


def principal(images: Tensor) -> Tensor:
    """Return the projection to the twelve principal components of the training images (MagNet, Defense-GAN)."""
    train = digits()[0].images.flatten(1)
    mean = train.mean(0)
    directions = torch.linalg.svd(train - mean, full_matrices=False).Vh[:12]
    return ((images.flatten(1) - mean) @ directions.T @ directions + mean).view(images.shape)


def low_rank(images: Tensor) -> Tensor:
    """Return each image with its three largest singular values alone (ME-Net, Yang et al. 2019)."""
    left, _, right = torch.linalg.svd(images)
    left, right = left[..., :3], right[..., :3, :]
    return left @ left.mT @ images @ right.mT @ right


def standardised(images: Tensor, *, tracked: bool) -> Tensor:
    """Return images of one mean and spread; unless `tracked`, both are constants for the gradient."""
    source = images if tracked else images.detach()
    mean, std = source.mean((1, 2, 3), keepdim=True), source.std((1, 2, 3), keepdim=True)
    return (images - mean) / (std + 1e-3) * 0.375 + 0.305


def of_the_batch(images: Tensor) -> Tensor:
    """Return images moved to the training images' mean by the mean of their batch, as BatchNorm does when training."""
    return images - images.mean(0, keepdim=True) + digits()[0].images.mean(0)


class Antiadversary(nn.Module):
    """Each image is moved first so that the network's own answer becomes surer (Alfarra et al. 2022).

    The move is not part of the gradient (Croce et al. 2022).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of the moved images."""
        moved = images.detach()
        with torch.enable_grad():
            for _ in range(2):
                tracked = moved.requires_grad_(True)
                logits = self.network(tracked)
                loss = nn.functional.cross_entropy(logits, logits.argmax(1), reduction="sum")
                (gradient,) = torch.autograd.grad(loss, tracked)
                moved = (tracked - 0.05 * gradient.sign()).clamp(0, 1).detach()
        logits = self.network(put(moved, images))
        return logits


class Noised:
    """Purification as by diffusion: noise, then the denoiser, with an identity gradient (Nie et al. 2022)."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(41)

    def __call__(self, images: Tensor) -> Tensor:
        """Return the purified images."""
        noise = torch.randn(images.shape, generator=self.generator)
        return put(principal(images + 0.15 * noise), images)


def _entry(name: str, before: Map, truth: Map, why: str) -> Defence:
    return Defence(name=name, family="purifier", build=behind(before), truth=behind(truth), why=why)


def _over_noise(base: nn.Module, other: nn.Module, robust: nn.Module) -> nn.Module:
    noise = 0.15 * drawn((10, 1, 1, 8, 8), 43)
    return Mean(base, lambda images: [principal(images + one) for one in noise])


_antiadversary: Build = lambda base, other, robust: Antiadversary(base)  # noqa: E731

PURIFIERS = (
    _entry("nearest-identity", straight(nearest), soft_nearest, "the nearest training image, identity gradient"),
    _entry("nearest-detached", lambda x: nearest(x) + 0 * x, soft_nearest, "the nearest training image, no gradient"),
    _entry("principal-identity", straight(principal), principal, "principal components, identity gradient"),
    _entry("low-rank-identity", straight(low_rank), straight(low_rank), "few singular values, identity gradient"),
    _entry("norm-outside", lambda x: standardised(x, tracked=False), lambda x: standardised(x, tracked=True),
           "mean and spread of each image are outside the gradient"),
    _entry("norm-detached", lambda x: standardised(x, tracked=False).detach() + 0 * x,
           lambda x: standardised(x, tracked=True), "normalisation under no_grad"),
    Defence(name="batch-mean", family="purifier", build=behind(of_the_batch), truth=behind(), expected=True,
            samples=True, why="statistics of the batch, also at test time: answers depend on the other images"),
    Defence(name="antiadversary", family="purifier", build=_antiadversary, truth=_antiadversary,
            why="test-time optimisation inside the forward pass (Croce et al. 2022)"),
    Defence(name="diffusion-identity", family="purifier", truth=_over_noise, expected=True, samples=True,
            build=lambda base, other, robust: Behind(base, before=Noised()),
            why="noise and a denoiser with an identity gradient (Nie et al. 2022)"),
)  # fmt: skip
"""Defences of this kind."""
