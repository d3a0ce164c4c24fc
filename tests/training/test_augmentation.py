"""Random views: every one is a shifted or mirrored copy, and their generator decides which."""

import pytest
import torch
import torch.nn.functional as F

from nrf_ray.data.images import as_float
from nrf_ray.training.augmentation import _crop_and_rotate, augment
from nrf_ray.training.recipes import Augmentation


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


@pytest.mark.parametrize("laid_out", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "augmentation",
    [
        Augmentation(pad=2, flip=True),
        Augmentation(flip=True),
        Augmentation(pad=1, min_area=0.5, jitter=0.1),
        Augmentation(),
    ],
)
def test_bytes_give_the_same_views_as_their_floats_whatever_the_layout(augmentation, laid_out):
    stored = torch.randint(256, (32, 3, 6, 5), generator=generator(), dtype=torch.uint8)
    views = augment(stored.contiguous(memory_format=laid_out), augmentation, generator())
    assert torch.equal(views, augment(as_float(stored), augmentation, generator()))
    assert views.dtype == torch.float32


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


def test_a_turn_by_nothing_and_a_crop_of_all_are_the_image_itself():
    images = pictures()
    views = _crop_and_rotate(images, Augmentation(), generator())
    torch.testing.assert_close(views, images, atol=1e-5, rtol=0)


def test_a_turn_of_a_symmetric_disc_keeps_it_and_of_a_bar_does_not():
    rows = torch.linspace(-1, 1, 33)
    disc = ((rows[:, None] ** 2 + rows[None] ** 2) < 0.5).float().expand(16, 1, 33, 33)
    bar = (rows[:, None].abs() < 0.2).float().expand(33, 33).expand(16, 1, 33, 33)
    turn = Augmentation(rotation=180.0)
    assert (augment(disc, turn, generator()) - disc).abs().mean() < 0.04
    assert (augment(bar, turn, generator()) - bar).abs().mean() > 0.1


def test_small_turns_move_little_and_every_image_by_its_own_angle():
    images = pictures(n=1).expand(50, -1, -1, -1)
    views = augment(images, Augmentation(rotation=2.0), generator())
    inner = (views - images)[:, :, 1:-1, 1:-1].abs()
    assert inner.amax() < 0.25
    assert len({float(view.sum()) for view in views}) == 50


def test_crops_show_a_part_of_the_image_at_its_own_size():
    ramp = torch.linspace(0, 1, 32).expand(200, 1, 32, 32).contiguous()
    views = augment(ramp, Augmentation(min_area=0.25), generator())
    assert views.shape == ramp.shape
    spans = views[:, 0, 16].amax(1) - views[:, 0, 16].amin(1)
    assert 0.38 < spans.min() < 0.6, "a quarter of the area at 3:4 is 43% of the width"
    assert spans.max() > 0.9
    assert 0 <= views.min() <= views.max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_changes_brightness_by_its_factor_at_most(channels):
    grey = torch.full((500, channels, 4, 4), 0.5)
    views = augment(grey, Augmentation(jitter=0.25), generator())
    assert 0.375 <= views.min() < 0.39
    assert 0.61 < views.max() <= 0.625
    assert (views.amax((1, 2, 3)) - views.amin((1, 2, 3))).max() < 1e-6, "a grey image stays grey"


def test_jitter_moves_colours_about_grey():
    red = torch.tensor([0.8, 0.2, 0.2]).view(1, 3, 1, 1).expand(500, 3, 4, 4)
    views = augment(red, Augmentation(jitter=0.25), generator())
    spread = views[:, 0, 0, 0] - views[:, 1, 0, 0]
    assert spread.min() < 0.5 < 0.7 < spread.max()


def test_lighting_adds_one_colour_to_a_whole_image():
    grey = torch.full((500, 3, 4, 4), 0.5)
    change = augment(grey, Augmentation(lighting=0.05), generator()) - grey
    assert change.flatten(2).std(dim=2).max() < 1e-6
    assert change[:, :, 0, 0].std() == pytest.approx(0.05 * 0.2175 * 3**-0.5, rel=0.1)
    assert torch.equal(augment(grey[:, :1], Augmentation(lighting=0.05), generator()), grey[:, :1])
