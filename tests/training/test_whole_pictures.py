"""Training on random crops of whole pictures, where the images were cut from larger ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from nrf_ray.data.images import LabelledImages
from nrf_ray.models.zoo import build
from nrf_ray.training.fit import fit
from nrf_ray.training.recipes import Augmentation, Recipe

CROPS = Recipe(epochs=2, lr=0.01, batch_size=8, augmentation=Augmentation(min_area=0.08, flip=True))


@pytest.fixture
def cut(tmp_path):
    """Sixteen images of the black middle of wide pictures: everything that is not black is beside the images."""
    files = []
    for number in range(16):
        picture = np.zeros((40, 90, 3), np.uint8)
        picture[:, :25] = picture[:, -25:] = 100 + number
        files.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(picture).save(files[-1])
    images = torch.zeros(16, 3, 16, 16, dtype=torch.uint8)
    return LabelledImages(images=images, labels=torch.arange(16) % 2, pictures=tuple(files))


def network():
    return build("vgg_s", shape=(3, 16, 16), num_classes=2, mean=[0.5] * 3, std=[0.5] * 3, seed=0)


def views_of(data, recipe=CROPS, seed=0, **more):
    """Return the images that a training sees, [epochs, n, c, h, w], and the weights after it."""
    seen = []
    model = network()
    fit(model, data, recipe, seed=seed, perturb=lambda model, images, labels: (seen.append(images), images)[1], **more)
    return torch.cat(seen), torch.cat([tensor.flatten().double() for tensor in model.state_dict().values()])


def test_crops_are_of_the_whole_pictures_and_new_in_every_epoch(cut):
    views, _ = views_of(cut)
    assert views.shape == (32, 3, 16, 16)
    brightest = (views.amax((1, 2, 3)) * 255).round()
    assert (brightest >= 100).float().mean() > 0.5, "most crops reach beyond the black middle"
    assert brightest[brightest > 0].unique().numel() > 10, "each of its own picture"
    assert not torch.equal(views[:16].mean((1, 2, 3)).sort().values, views[16:].mean((1, 2, 3)).sort().values)


@pytest.mark.parametrize("change", ["no crops", "no pictures"])
def test_the_images_themselves_are_trained_on_otherwise(cut, change):
    recipe = replace(CROPS, augmentation=Augmentation(flip=True)) if change == "no crops" else CROPS
    views, _ = views_of(cut if change == "no crops" else replace(cut, pictures=None), recipe)
    assert views.max() == 0


def test_the_seed_alone_decides_and_a_resumed_training_ends_with_the_same_bits(cut):
    kept = {}
    views, weights = views_of(cut, on_epoch=lambda epoch, snapshot: kept.update({epoch.epoch: snapshot()}))
    again, same = views_of(cut)
    assert torch.equal(views, again)
    assert torch.equal(weights, same)
    rest, resumed = views_of(cut, resume=kept[1])
    assert torch.equal(rest, views[16:])
    assert torch.equal(resumed, weights)
    other, _ = views_of(cut, seed=1)
    assert not torch.equal(views, other)


def test_chosen_rows_keep_their_pictures(cut):
    assert cut.rows(torch.tensor([3, 1])).pictures == (cut.pictures[3], cut.pictures[1])
    assert cut.rows(slice(2, 4)).pictures == cut.pictures[2:4]
    assert cut.to("cpu").pictures == cut.pictures
    assert replace(cut, pictures=None).rows(slice(2)).pictures is None
