"""What tests of several rooms share: digits, one trained network, and linear networks whose optimum is known.

A plugin of `tests/conftest.py`. Heavy imports are inside functions: the process that only prints loads this too.
"""

from pathlib import Path

import pytest

from tests.conftest import MakeOnce


@pytest.fixture(scope="session")
def digits():
    """Return the training and the test split."""
    from nrf_ray.data.catalogue import dataset_named
    from nrf_ray.data.load import load

    return load(dataset_named("digits").ref)


@pytest.fixture(scope="session")
def few(digits):
    """Return 192 training images: enough to train on in a tenth of a second."""
    from nrf_ray.data.images import LabelledImages

    return LabelledImages(images=digits[0].images[:192], labels=digits[0].labels[:192])


@pytest.fixture(scope="session")
def trained(digits):
    """Return a resnet_s that is right on most digits, in eval mode. Tests must leave it as it is."""
    from nrf_ray.data.catalogue import dataset_named
    from nrf_ray.stages.weights import new_model
    from nrf_ray.training.fit import fit
    from nrf_ray.training.recipes import Recipe

    model = new_model("resnet_s", dataset_named("digits").ref, seed=0)
    fit(model, digits[0], Recipe(epochs=3, lr=0.05), seed=0)
    return model


@pytest.fixture(scope="session")
def linear():
    """Return the class of linear networks."""
    from tests.networks import Linear

    return Linear


@pytest.fixture(scope="session")
def store(make_once: MakeOnce):
    """Return a store in which all of `goals.GOALS` are done. Tests must leave it as it is. Some rooms have another."""
    from nrf_ray.graph.execute import run_inline
    from nrf_ray.graph.frontier import Progress
    from nrf_ray.graph.store import Store
    from tests.goals import GOALS

    def run(folder: Path) -> None:
        frontier = run_inline(GOALS, Store.open(str(folder), create=True))
        assert frontier.errors == {}
        assert frontier.in_state(*Progress) == frontier.in_state(Progress.DONE)

    return Store.open(str(make_once("goals", run)), create=False)
