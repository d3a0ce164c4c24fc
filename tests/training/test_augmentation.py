"""Random views: shifted and mirrored copies, and torchvision's turns and colours; their generator decides which."""

from collections import Counter
from itertools import permutations

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import chisquare
from torchvision.transforms.v2 import functional as v2

from nrf_ray.data.images import as_float
from nrf_ray.training import augmentation
from nrf_ray.training.augmentation import BRIGHTNESS, CONTRAST, SATURATION, augment, jitter, rotate
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


def turned(images, degrees):
    return rotate(images, torch.full((len(images),), degrees, dtype=images.dtype))


def test_turns_by_right_angles_are_exact():
    images = pictures(height=5, width=5)
    assert torch.equal(turned(images, 0.0), images)
    for quarters in (1, 2, 3):
        assert torch.equal(turned(images, 90.0 * quarters), images.rot90(quarters, (2, 3)))
    assert torch.equal(turned(pictures(), 180.0), pictures().rot90(2, (2, 3)))


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8), (3, 17, 24), (1, 28, 28)])
@pytest.mark.parametrize("most", [2.0, 180.0])
def test_turns_are_those_of_torchvision_to_the_pixel(shape, most):
    """In float64, in which no coordinate is so near to the middle between two pixels that rounding decides."""
    images = torch.rand(40, *shape, generator=generator(), dtype=torch.float64)
    degrees = (2 * torch.rand(40, generator=generator(1), dtype=torch.float64) - 1) * most
    expected = [v2.rotate(image, angle) for image, angle in zip(images, degrees.tolist(), strict=True)]
    assert torch.equal(rotate(images, degrees), torch.stack(expected))
    same = rotate(images.float(), degrees.float()) == torch.stack(expected).float()
    assert same.double().mean() > 0.9995, "in float32 rounding decides for a pixel in some ten thousand"


def test_turns_are_those_of_pictures_in_pillow():
    """The authors' library turns Pillow's pictures."""
    images = torch.randint(256, (40, 3, 32, 32), generator=generator(), dtype=torch.uint8)
    degrees = 4 * torch.rand(40, generator=generator(1), dtype=torch.float64) - 2
    ours = (rotate(as_float(images).double(), degrees) * 255).round().to(torch.uint8)
    theirs = [
        v2.pil_to_tensor(v2.rotate(v2.to_pil_image(image), angle))
        for image, angle in zip(images, degrees.tolist(), strict=True)
    ]
    assert (ours == torch.stack(theirs)).double().mean() > 0.999


def test_a_small_turn_keeps_white_noise():
    """D_rand's signal looks like noise. The average of four neighbours keeps .69 of its energy, the nearest all."""
    noise = torch.randn(200, 3, 32, 32, generator=generator())
    views = augment(noise, Augmentation(rotation=2.0), generator())
    assert float((views[:, :, 2:-2, 2:-2] ** 2).mean()) == pytest.approx(1.0, abs=0.01)


def test_a_turn_of_a_symmetric_disc_keeps_it_and_of_a_bar_does_not():
    rows = torch.linspace(-1, 1, 33)
    disc = ((rows[:, None] ** 2 + rows[None] ** 2) < 0.5).float().expand(16, 1, 33, 33)
    bar = (rows[:, None].abs() < 0.2).float().expand(33, 33).expand(16, 1, 33, 33)
    turn = Augmentation(rotation=180.0)
    assert (augment(disc, turn, generator()) - disc).abs().mean() < 0.04
    assert (augment(bar, turn, generator()) - bar).abs().mean() > 0.1


def test_every_image_is_turned_by_its_own_angle_up_to_the_largest():
    ramp = torch.linspace(-1, 1, 201).expand(1, 1, 201, 201).contiguous()
    views = augment(ramp.expand(300, -1, -1, -1), Augmentation(rotation=2.0), generator())
    slopes = (views[:, 0, 200, 100] - views[:, 0, 0, 100]) / 2
    degrees = slopes.asin() * 180 / torch.pi
    assert -2.3 < degrees.min() < -1.7
    assert 1.7 < degrees.max() < 2.3
    assert abs(degrees.mean()) < 0.3


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


CHANGES = {BRIGHTNESS: v2.adjust_brightness, CONTRAST: v2.adjust_contrast, SATURATION: v2.adjust_saturation}


def jittered_by_torchvision(images, factors, order):
    views = []
    for image, factor, changes in zip(images, factors.tolist(), order.tolist(), strict=True):
        for change in changes:
            image = CHANGES[change](image, factor[change])
        views.append(image)
    return views


def some_jitter(n, strength=0.25):
    factors = 1 + strength * (2 * torch.rand(n, 3, generator=generator(2)) - 1)
    orders = torch.tensor(list(permutations(range(3))))
    return factors, orders[torch.arange(n) % len(orders)]


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_in_any_order_is_that_of_torchvision(channels, monkeypatch):
    """With the weights of red, green and blue that torchvision has for tensors, which do not sum to 1."""
    monkeypatch.setattr(augmentation, "LUMA", (0.2989, 0.587, 0.114))
    images = torch.rand(60, channels, 8, 8, generator=generator())
    factors, order = some_jitter(60)
    expected = torch.stack(jittered_by_torchvision(images, factors, order))
    torch.testing.assert_close(jitter(images, factors, order), expected, atol=1e-6, rtol=0)
    another = torch.stack(jittered_by_torchvision(images, factors, order.flip(1)))
    if channels == 3:
        assert ((another - expected).abs().amax((1, 2, 3)) > 1e-3).double().mean() > 0.7, "the order matters"


def test_jitter_is_that_of_pictures_in_pillow_but_for_its_rounding():
    """The authors' library changes Pillow's pictures, which lose up to a level of 255 in each change; 4 in all."""
    images = torch.randint(256, (60, 3, 8, 8), generator=generator(), dtype=torch.uint8)
    factors, order = some_jitter(60)
    theirs = jittered_by_torchvision([v2.to_pil_image(image) for image in images], factors, order)
    expected = as_float(torch.stack([v2.pil_to_tensor(view) for view in theirs]))
    assert (jitter(as_float(images), factors, order) - expected).abs().max() <= 4 / 255


def test_jitter_comes_in_all_six_orders_equally_often(monkeypatch):
    seen = []
    monkeypatch.setattr(augmentation, "jitter", lambda images, factors, order: (seen.append(order), images)[1])
    augment(torch.rand(6000, 3, 1, 1, generator=generator()), Augmentation(jitter=0.25), generator())
    orders = Counter(map(tuple, seen[0].tolist()))
    assert orders.keys() == set(permutations(range(3)))
    assert chisquare(list(orders.values())).pvalue > 0.001


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
