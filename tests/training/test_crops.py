"""Random crops: the boxes and the pixels are torchvision's, and whole pictures are cut at their own size."""

import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torchvision.transforms import RandomResizedCrop, transforms
from torchvision.transforms.v2 import functional as v2

from nrf_ray.data.images import as_uint8
from nrf_ray.errors import ConfigError
from nrf_ray.training.augmentation import augment
from nrf_ray.training.crops import ASPECTS, TRIES, boxes, crop, crops_of, draw
from nrf_ray.training.recipes import Augmentation


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def sizes(*pairs):
    return torch.tensor(pairs)


def box_of_torchvision(size, min_area, draws, row, monkeypatch):
    """Return the box that torchvision chooses in a picture of `size` from the same random numbers, in float64."""
    uniform = iter(torch.stack([draws.areas[:, row], draws.aspects[:, row]], 1).flatten().tolist())
    places = iter(draws.places[:, row].tolist())
    single = SimpleNamespace(
        uniform_=lambda low, high: torch.as_tensor(low + (high - low) * next(uniform), dtype=torch.float64)
    )
    fake = SimpleNamespace(
        empty=lambda n: single,
        tensor=partial(torch.tensor, dtype=torch.float64),
        log=torch.log,
        exp=torch.exp,
        randint=lambda low, high, size: torch.tensor(math.floor(next(places) * high)),
    )
    with monkeypatch.context() as patched:
        patched.setattr(transforms, "torch", fake)
        return RandomResizedCrop.get_params(torch.zeros(1, *size), (min_area, 1.0), ASPECTS)


@pytest.mark.parametrize("min_area", [0.08, 0.5, 0.99])
@pytest.mark.parametrize("size", [(224, 224), (375, 500), (500, 333), (32, 32), (100, 900), (900, 100), (7, 1)])
def test_boxes_are_those_of_torchvision_on_the_same_random_numbers(size, min_area, monkeypatch):
    draws = draw(200, generator())
    found = boxes(sizes(size).expand(200, 2), min_area, draws)
    expected = [box_of_torchvision(size, min_area, draws, row, monkeypatch) for row in range(200)]
    assert found.tolist() == [list(box) for box in expected]
    assert (found[:, :2] + found[:, 2:] <= sizes(size)).all()
    assert (found[:, 2:] > 0).all()


def test_pictures_of_several_sizes_have_boxes_of_their_own():
    draws = draw(3, generator())
    mixed = sizes((224, 224), (100, 900), (375, 500))
    together = boxes(mixed, 0.08, draws)
    for row in range(3):
        alone = type(draws)(*(part[:, row : row + 1] for part in draws))
        assert boxes(mixed[row : row + 1], 0.08, alone).tolist() == [together[row].tolist()]
    assert draws.areas.shape == (TRIES, 3)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 24, 17), (3, 224, 224)])
def test_pixels_of_a_crop_are_those_of_torchvision(shape):
    """Up to rounding of coordinates to float32: 1e-5 of a pixel at 224 pixels."""
    images = torch.rand(20, *shape, generator=generator())
    cut = boxes(sizes(shape[1:]).expand(20, 2), 0.08, draw(20, generator(1)))
    expected = [
        v2.resized_crop(image, *box, size=list(shape[1:])) for image, box in zip(images, cut.tolist(), strict=True)
    ]
    torch.testing.assert_close(crop(images, cut), torch.stack(expected), atol=1e-4, rtol=0)
    whole = torch.tensor([0, 0, *shape[1:]]).expand(20, 4)
    torch.testing.assert_close(crop(images, whole), images, atol=1e-4, rtol=0)


def test_views_are_crops_at_random_boxes():
    images = torch.rand(50, 3, 16, 16, generator=generator())
    views = augment(images, Augmentation(min_area=0.3), generator(4))
    assert torch.equal(views, crop(images, boxes(sizes((16, 16)).expand(50, 2), 0.3, draw(50, generator(4)))))


@pytest.fixture
def files(tmp_path):
    """Six pictures of different sizes, as PNG."""
    made = []
    for number, (height, width) in enumerate([(375, 500), (500, 333), (224, 224), (40, 60), (600, 90), (256, 300)]):
        pixels = torch.randint(256, (3, height, width), generator=generator(number), dtype=torch.uint8)
        made.append(str(tmp_path / f"{number}.png"))
        v2.to_pil_image(pixels).save(made[-1])
    return made


@pytest.mark.parametrize("shape", [(3, 224, 224), (1, 8, 10)])
def test_whole_pictures_are_cut_as_torchvision_cuts_them(files, shape, tmp_path):
    if shape[0] == 1:
        grey = [str(tmp_path / f"grey {number}.png") for number in range(len(files))]
        for old, new in zip(files, grey, strict=True):
            _opened(old).convert("L").save(new)
        files = grey
    views = crops_of(files, shape, 0.08, generator(3))
    pictures = [_opened(file) for file in files]
    cut = boxes(sizes(*((picture.height, picture.width) for picture in pictures)), 0.08, draw(6, generator(3)))
    expected = [
        v2.pil_to_tensor(v2.resized_crop(picture, *box, size=list(shape[1:])))
        for picture, box in zip(pictures, cut.tolist(), strict=True)
    ]
    assert torch.equal(views, torch.stack(expected))
    assert not torch.equal(views, crops_of(files, shape, 0.08, generator(4)))


def test_threads_do_not_change_whole_pictures(files):
    threads = torch.get_num_threads()
    try:
        found = []
        for count in (1, 3):
            torch.set_num_threads(count)
            found.append(crops_of(files, (3, 32, 32), 0.08, generator()))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)


def test_a_picture_that_became_unreadable_is_named(files, tmp_path):
    (tmp_path / "3.png").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"3\.png is not a readable PNG or JPEG"):
        crops_of(files, (3, 32, 32), 0.08, generator())


def test_a_view_of_floats_and_of_a_file_agree(tmp_path):
    """The two ways to crop, on the device and from a file, see the same thing: apart by the rounding of the file."""
    smooth = torch.rand(1, 3, 4, 4, generator=generator())
    image = torch.nn.functional.interpolate(smooth, size=(64, 64), mode="bilinear")
    v2.to_pil_image(as_uint8(image[0])).save(tmp_path / "a.png")
    read = crops_of([str(tmp_path / "a.png")], (3, 64, 64), 0.08, generator(7))
    views = crop(image, boxes(sizes((64, 64)), 0.08, draw(1, generator(7))))
    assert (views - read / 255).abs().max() < 1.5 / 255


def _opened(path):
    from PIL import Image

    return Image.open(path)
