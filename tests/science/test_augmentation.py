"""Random views: every one is a shifted or mirrored copy, and their generator decides which."""

import pytest
import torch
import torch.nn.functional as F

from nrf_ray.augmentation import augment
from nrf_ray.recipes import Augmentation


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(n=64, channels=2, height=5, width=7):
    return torch.rand(n, channels, height, width, generator=generator(1)) + 0.1


def shifted_copies(image, pad):
    """Return the (2 pad + 1)^2 shifts of one image, zero-filled."""
    _, height, width = image.shape
    padded = F.pad(image, (pad, pad, pad, pad))
    steps = range(2 * pad + 1)
    return torch.stack([padded[:, top : top + height, left : left + width] for top in steps for left in steps])


def which(copies, view):
    """Return the positions in `copies` that `view` equals."""
    return (copies == view).flatten(1).all(1).nonzero().flatten().tolist()


@pytest.mark.parametrize("pad", [1, 2])
def test_a_shift_is_one_of_the_shifted_copies_and_every_one_comes_up(pad):
    images = pictures(n=400)
    views = augment(images, Augmentation(pad=pad), generator())
    assert views.shape == images.shape
    found = [which(shifted_copies(image, pad), view) for image, view in zip(images, views, strict=True)]
    assert all(len(places) == 1 for places in found)
    assert {place for places in found for place in places} == set(range((2 * pad + 1) ** 2))


def test_a_flip_mirrors_left_to_right_about_half_of_the_images():
    images = pictures(n=1000)
    views = augment(images, Augmentation(flip=True), generator())
    kept = (views == images).flatten(1).all(1)
    mirrored = (views == images.flip(3)).flatten(1).all(1)
    assert (kept ^ mirrored).all()
    assert 420 < int(mirrored.sum()) < 580


def test_shift_and_flip_together():
    images = pictures(n=100)
    views = augment(images, Augmentation(pad=1, flip=True), generator())
    for image, view in zip(images, views, strict=True):
        copies = shifted_copies(image, 1)
        assert len(which(torch.cat([copies, copies.flip(3)]), view)) == 1


def test_off_is_the_identity_and_draws_nothing():
    images, source = pictures(), generator()
    before = source.get_state()
    assert torch.equal(augment(images, Augmentation(), source), images)
    assert torch.equal(source.get_state(), before)


@pytest.mark.parametrize("augmentation", [Augmentation(pad=2), Augmentation(flip=True), Augmentation(pad=1, flip=True)])
def test_the_generator_alone_decides(augmentation):
    images = pictures()
    original, state = images.clone(), torch.random.get_rng_state()
    first, again, other = (augment(images, augmentation, generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(images, original)
