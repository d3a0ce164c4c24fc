"""Data: digits are the digits that were meant, and pixels are rounded when they are stored."""

import pickle
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nrf_ray.data.catalogue import DATASETS, dataset_named, info_of
from nrf_ray.data.images import LabelledImages, as_float, as_uint8, content_digest, some
from nrf_ray.data.load import LOADERS, load, normalisation, test_split, train_split
from nrf_ray.errors import ConfigError
from nrf_ray.stages.evaluate import EvaluateSpec, evaluate
from nrf_ray.stages.train import TrainSpec, train
from nrf_ray.training.recipes import Recipe

TRAINED = train(TrainSpec(arch="vgg_s", dataset=DATASETS["digits"].ref, recipe=Recipe(epochs=1, lr=0.1), seed=0))
test_split.__test__ = False  # a loader of that name, not a test


def labelled(n=4, dtype=torch.float32):
    return LabelledImages(images=torch.zeros(n, 1, 2, 2, dtype=dtype), labels=torch.zeros(n, dtype=torch.int64))


def test_catalogue_and_loaders_have_the_same_names():
    assert list(DATASETS) == list(LOADERS)
    assert all(info.ref.name == name for name, info in DATASETS.items())


@pytest.mark.parametrize("name", DATASETS)
def test_a_dataset_is_what_the_catalogue_says(name):
    info = dataset_named(name)
    train, test = load(info.ref)
    assert (len(train), len(test)) == (info.num_train, info.num_test)
    assert train_split(info.ref) is train
    assert test_split(info.ref) is test
    for split in (train, test):
        assert tuple(split.images.shape[1:]) == info.shape
        assert split.images.dtype == torch.float32
        assert split.images.min() >= 0
        assert split.images.max() <= 1
        assert set(split.labels.tolist()) == set(range(info.num_classes)), "every split has every class"
    mean, std = normalisation(info.ref)
    assert len(mean) == len(std) == info.shape[0]
    pixels = train.images.transpose(0, 1).flatten(1)
    torch.testing.assert_close(pixels.mean(1), torch.tensor(mean), rtol=0, atol=0.05)
    torch.testing.assert_close(pixels.std(1), torch.tensor(std), rtol=0, atol=0.05)


def test_digits_are_pinned(digits):
    train, test = digits
    assert (tuple(train.images.shape), tuple(test.images.shape)) == ((1437, 1, 8, 8), (360, 1, 8, 8))
    assert content_digest(train, test) == "5d120973497f1f938f9611e97af80eb9b6b38d570877eb4f2b288cc344a4e282"
    assert content_digest(train, test) == DATASETS["digits"].ref.digest
    levels = torch.cat([train.images, test.images]) * 16
    assert torch.equal(levels, levels.round())
    assert torch.bincount(torch.cat([train.labels, test.labels])).tolist() == [
        178,
        182,
        177,
        183,
        181,
        182,
        181,
        179,
        174,
        180,
    ]


def test_no_test_image_is_a_training_image(digits):
    train, test = ({tuple(image) for image in split.images.flatten(1).tolist()} for split in digits)
    assert train.isdisjoint(test)


def test_other_content_than_was_meant_is_refused_in_one_line():
    ref = replace(DATASETS["digits"].ref, digest="0" * 64)
    with pytest.raises(
        ConfigError, match=r"dataset digits has content 5d120973497f, but 000000000000 was expected"
    ) as error:
        load(ref)
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigError):
        load(ref)  # a refusal is not remembered as a success
    assert len(load(DATASETS["digits"].ref)[0]) == 1437


def test_where_files_are_is_no_part_of_a_dataset():
    here, there = (replace(DATASETS["digits"].ref, location=place) for place in ("/here", "/there"))
    assert here == there == DATASETS["digits"].ref
    assert EvaluateSpec(dataset=here) == EvaluateSpec(dataset=there)
    assert (
        evaluate(EvaluateSpec(dataset=here), model=TRAINED).key
        == evaluate(EvaluateSpec(dataset=there), model=TRAINED).key
    )
    assert pickle.loads(pickle.dumps(EvaluateSpec(dataset=there))).dataset.location == "/there", "workers need it"


def test_what_is_known_of_a_dataset_is_known_of_one_content_only():
    ref = DATASETS["digits"].ref
    assert info_of(ref) is dataset_named("digits")
    with pytest.raises(ConfigError, match=r"dataset digits has content 5d120973497f, but 000000000000 was expected"):
        info_of(replace(ref, digest="0" * 64))


def test_an_unknown_dataset_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"unknown dataset 'mnist'; known: digits, fashion-mnist, cifar10") as error:
        dataset_named("mnist")
    assert "\n" not in str(error.value)


def test_the_digest_covers_pixels_labels_shapes_types_and_order():
    base = labelled()
    changed = [
        LabelledImages(images=base.images + torch.eye(2), labels=base.labels),
        LabelledImages(images=base.images, labels=base.labels + 1),
        LabelledImages(images=base.images.view(4, 2, 1, 2), labels=base.labels),
        labelled(dtype=torch.uint8),
        labelled(3),
    ]
    assert len({content_digest(data) for data in [base, *changed]}) == 6
    assert content_digest(base, changed[0]) != content_digest(changed[0], base)
    assert content_digest(base) == content_digest(labelled())
    transposed = base.images.contiguous(memory_format=torch.channels_last)
    assert content_digest(LabelledImages(images=transposed, labels=base.labels)) == content_digest(base)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (torch.zeros(4, 2, 2), torch.zeros(4, dtype=torch.int64)),
        (torch.zeros(4, 1, 2, 2), torch.zeros(3, dtype=torch.int64)),
        (torch.zeros(4, 1, 2, 2, dtype=torch.float64), torch.zeros(4, dtype=torch.int64)),
        (torch.zeros(4, 1, 2, 2), torch.zeros(4)),
    ],
    ids=["three axes", "a label too few", "float64", "labels that are floats"],
)
def test_images_and_labels_have_one_shape_and_type(images, labels):
    with pytest.raises(AssertionError):
        LabelledImages(images=images, labels=labels)


def test_storage_rounds_and_does_not_truncate():
    """Torchattacks' save(save_type="int") gives 254, 127, 100, a bias of half a level in every pixel."""
    stored = as_uint8(torch.tensor([0.9999, 0.5, 100 / 255, 0.0, 1.0, 0.49 / 255, 0.51 / 255]))
    assert stored.tolist() == [255, 128, 100, 0, 255, 0, 1]
    assert stored.dtype == torch.uint8


def test_every_level_survives_a_round_trip():
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(as_uint8(as_float(levels)), levels)
    assert as_float(levels).dtype == torch.float32


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=50))
def test_storage_is_off_by_half_a_level_at_most(values):
    images = torch.tensor(values)
    assert (as_float(as_uint8(images)) - images).abs().max() <= 0.5 / 255 + 1e-6
    assert as_float(images) is images


def test_some_rows_are_of_every_class_even_of_a_set_that_is_sorted_by_class():
    labels = torch.arange(1000) // 100
    rows = some(1000, 60)
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert len(labels[rows].unique()) == 10
    assert set(rows.tolist()) < set(some(1000, 200).tolist()), "fewer are a part of more"
    assert torch.equal(some(1000, 60), rows)
    assert some(5, None).tolist() == some(5, 9).tolist() == [0, 1, 2, 3, 4]
