"""What the tests of the science share: digits, one trained network, and linear networks whose optimum is known."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.images import LabelledImages
from nrf_ray.data.load import load
from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.frontier import Progress
from nrf_ray.graph.store import Store
from nrf_ray.models.classifier import Classifier
from nrf_ray.stages.weights import new_model
from nrf_ray.training.fit import fit
from nrf_ray.training.recipes import Recipe
from tests.conftest import MakeOnce
from tests.science.goals import GOALS

DIGITS = dataset_named("digits").ref


class Linear(nn.Module):
    """Logits W x + b of images in [0, 1], with given W [k, d]: every attack on it has a closed form."""

    def __init__(self, weight: Tensor, bias: Sequence[float] | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(len(weight)) if bias is None else torch.tensor(bias))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        return images.flatten(1) @ self.weight.T + self.bias


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits() -> tuple[LabelledImages, LabelledImages]:
    """Return the training and the test split."""
    return load(DIGITS)


@pytest.fixture(scope="session")
def few(digits) -> LabelledImages:
    """Return 192 training images: enough to train on in a tenth of a second."""
    return LabelledImages(images=digits[0].images[:192], labels=digits[0].labels[:192])


@pytest.fixture(scope="session")
def trained(digits) -> Classifier:
    """Return a resnet_s that is right on most digits, in eval mode. Tests must leave it as it is."""
    model = new_model("resnet_s", DIGITS, seed=0)
    fit(model, digits[0], Recipe(epochs=3, lr=0.05), seed=0)
    return model


@pytest.fixture(scope="session")
def linear() -> type[Linear]:
    """Return the class of linear networks."""
    return Linear


@pytest.fixture(scope="session")
def store(make_once: MakeOnce) -> Store:
    """Return a store in which all of `goals.GOALS` are done. Tests must leave it as it is."""

    def run(folder: Path) -> None:
        frontier = run_inline(GOALS, Store.open(str(folder), create=True))
        assert frontier.errors == {}
        assert frontier.in_state(*Progress) == frontier.in_state(Progress.DONE)

    return Store.open(str(make_once("goals", run)), create=False)
