"""Planted sets as tensors; see `nrf_ray.data.planted`."""

import numpy as np
import torch

from nrf_ray.data.images import LabelledImages
from nrf_ray.data.planted import Planted, grammar
from nrf_ray.data.planted.generate import generate
from nrf_ray.data.planted.texts import word_vectors
from nrf_ray.data.words import Scaling, WordTable, table_of

MEAN, STD = 0.5, 0.3
"""Mean and std of every planted set, to one digit."""


def load(spec: Planted) -> tuple[LabelledImages, LabelledImages]:
    """Return the training and the test split."""
    train, test = (
        LabelledImages(images=torch.from_numpy(made.images), labels=torch.from_numpy(made.labels))
        for made in (generate(spec, "train"), generate(spec, "test"))
    )
    return train, test


def words(spec: Planted) -> WordTable:
    """Return the table of words of planted texts, at 8 bits; its vectors have no noise part (mark)."""
    mean, std = normalisation(spec)
    embedding = (word_vectors(spec) - np.array(mean)) / np.array(std)
    return table_of(grammar.WORDS, embedding, Scaling(mean, std))


def normalisation(spec: Planted) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std per channel of an image, or per coordinate of a word's vector."""
    count = spec.kind.shape[2] if spec.kind.reads == "texts" else spec.kind.shape[0]
    return (MEAN,) * count, (STD,) * count
