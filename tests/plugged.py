"""Plug-ins in tests: loaded from text, and forgotten after the test. A plugin of `tests/conftest.py`."""

from collections.abc import Callable, Iterator

import pytest

from nrf_ray.plugins import Plugin, load_source, loaded, unload

Load = Callable[..., Plugin]

MINE = """
from nrf_ray.attacks.losses import LOSSES
from nrf_ray.attacks.named import attack_function
from nrf_ray.constructions.spec import CONSTRUCTIONS, Construction
from nrf_ray.models.catalogue import ARCHITECTURES, Architecture


def flat(channels, height):
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height**2, 64), nn.ReLU()), 64


ARCHITECTURES.register("flat")(Architecture(name="flat", family="mine", mmacs={8: 0.005}, builder=flat))
CONSTRUCTIONS.register("d_same")(
    Construction(name="d_same", targets="same", features="adversarial", description="targeted PGD to y itself")
)


@LOSSES.register("half")
def half(logits, labels):
    from nrf_ray.attacks.losses import per_example_cross_entropy

    return per_example_cross_entropy(logits, labels) / 2


@attack_function("walk", passes=5)
def walk(model, images, labels, threat, generator):
    found = images
    for _ in range(5):
        tried = threat.random_start(images, generator)
        found = tried.where((model(tried).argmax(1) != labels).view(-1, 1, 1, 1), found)
    return found
"""
"""A plug-in with an architecture, a construction, a loss and an attack."""


@pytest.fixture
def plug() -> Iterator[Load]:
    """Return the function that loads a plug-in from its text, by default `MINE`."""
    before = set(loaded())
    yield lambda text=MINE, name="mine.py": load_source(name, text.encode())
    for plugin in set(loaded()) - before:
        unload(plugin)
