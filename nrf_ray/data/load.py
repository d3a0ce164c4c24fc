"""Load a dataset by its reference, and check that its content is the one in the reference."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch

from nrf_ray.data import digits
from nrf_ray.data.catalogue import DatasetRef, check_content
from nrf_ray.data.encoders import encoder_folder
from nrf_ray.data.images import LabelledImages, content_digest
from nrf_ray.data.planted import is_planted, parse_planted, planted_digest
from nrf_ray.data.planted import tensors as planted
from nrf_ray.data.prepared import Prepared, prepared, prepared_words
from nrf_ray.data.prepared import shared_rows as prepared_shared_rows
from nrf_ray.data.pushed import are_here, located_of
from nrf_ray.data.shared_rows import shared
from nrf_ray.data.words import WordTable
from nrf_ray.errors import ConfigError

LOADERS: dict[str, Callable[[], tuple[LabelledImages, LabelledImages]]] = {"digits": digits.load}
"""Functions that return the training and test split of each built-in dataset, by name; see `catalogue`."""

NORMALISATION: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {"digits": ((0.3,), (0.35,))}
"""Mean and std per channel of the built-in datasets, by name."""


@lru_cache(maxsize=2)
def load(ref: DatasetRef) -> tuple[LabelledImages, LabelledImages]:
    """Return the training and the test split of `ref`; cached for the next stages of the same process.

    A set made of files is mapped into memory, not read: see `prepared`. Raises ConfigError if the content is not the
    one in the reference.
    """
    if ref.location:
        arrays = _prepared(ref)
        train, test = (
            LabelledImages(images=torch.from_numpy(images), labels=torch.from_numpy(labels))
            for images, labels in (arrays[:2], arrays[2:4])
        )
        return train, test
    if is_planted(ref.name):
        spec = parse_planted(ref.name)
        check_content(ref, planted_digest(spec))
        return planted.load(spec)
    train, test = LOADERS[ref.name]()
    found = content_digest(train, test)
    if found != ref.digest:
        raise ConfigError(
            f"dataset {ref.name} has content {found[:12]}, but {ref.digest[:12]} was expected: another version of its "
            "package is installed; install the versions in constraints.txt"
        )
    return train, test


def train_split(ref: DatasetRef) -> LabelledImages:
    """Return the training split."""
    return load(ref)[0]


def train_pictures(ref: DatasetRef) -> tuple[str, ...] | None:
    """Return the file that each training image of `ref` was cut from; None if the images show whole pictures."""
    if not ref.location:
        return None
    portion = located_of(ref.location, ref.digest).train
    find = portion.files.format.pictures
    if find is None:
        return None
    if not are_here(ref.location):
        raise ConfigError(
            f"training on random crops of {ref.name} needs its files, which are not on this machine: a set that was "
            f"pushed has only the cut images; put the files at {portion.files.path}, or use a recipe without crops"
        )
    found = find(portion.files.path, portion.split)
    return tuple(str(found[row]) for row in portion.rows())


def pictures_as_shown(ref: DatasetRef) -> bool:
    """Return whether the files of `train_pictures` are opened as a viewer shows them."""
    return bool(ref.location) and located_of(ref.location, ref.digest).train.files.format.as_shown


def test_split(ref: DatasetRef) -> LabelledImages:
    """Return the test split."""
    return load(ref)[1]


@lru_cache(maxsize=2)
def shared_rows(ref: DatasetRef) -> int:
    """Return how many test rows of `ref` are training rows too."""
    if ref.location:
        return prepared_shared_rows(located_of(ref.location, ref.digest))
    train, test = load(ref)
    return shared(train.images.numpy(), test.images.numpy())


def normalisation(ref: DatasetRef) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std per channel: the paper's for its own sets, else computed from the training pixels."""
    if is_planted(ref.name):
        return planted.normalisation(parse_planted(ref.name))
    if not ref.location:
        return NORMALISATION[ref.name]
    arrays = _prepared(ref)
    return arrays.mean, arrays.std


@lru_cache(maxsize=2)
def word_table(ref: DatasetRef) -> WordTable:
    """Return the table of words of the texts of `ref`. Raises ConfigError if `ref` holds no texts."""
    if is_planted(ref.name) and parse_planted(ref.name).kind.reads == "texts":
        return planted.words(parse_planted(ref.name))
    if not ref.location or located_of(ref.location, ref.digest).kind != "texts":
        raise ConfigError(f"dataset {ref.name} holds no texts")
    located = located_of(ref.location, ref.digest)
    check_content(ref, located.content)
    return prepared_words(located)


def encoder_of(ref: DatasetRef) -> Path:
    """Return the folder of the encoder that embeds the texts of `ref`. Raises ConfigError if no encoder does."""
    encoder = located_of(ref.location, ref.digest).name.train.encoder if ref.location else ""
    if not encoder:
        raise ConfigError(
            f"a pretrained encoder reads its own word vectors, and {ref.name} has others; write #hf:NAME at the end "
            "of the dataset's name"
        )
    return encoder_folder(encoder)


def _prepared(ref: DatasetRef) -> Prepared:
    located = located_of(ref.location, ref.digest)
    check_content(ref, located.content)
    return prepared(located)
