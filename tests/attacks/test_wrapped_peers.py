"""An attack of another library as one's own: the same robust accuracy as in the library's own loop.

foolbox is part of the extra `test`; torchattacks and adv-lib come from tests/peers.txt. Without them these tests skip.
"""

import sys
from functools import partial
from types import ModuleType

import pytest
import torch

from nrf_ray.attacks.peers import of_adv_lib, of_foolbox, of_torchattacks
from nrf_ray.attacks.run_function import run_function
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.engine.predict import predict

EPS, STEPS, SEED = 0.1, 10, 7
THREAT = ThreatModel(norm="linf", eps=EPS)
pytestmark = [
    pytest.mark.filterwarnings("ignore:Please import `gaussian_filter`:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::SyntaxWarning"),
]


@pytest.fixture
def right(trained, digits):
    """Return 128 test images that the network classifies correctly, and their labels."""
    test = digits[1]
    rows = (predict(trained, test.images) == test.labels).nonzero().squeeze(1)[:128]
    return test.images[rows], test.labels[rows]


def left(model, images, labels) -> float:
    with torch.no_grad():
        return float((model(images).argmax(1) == labels).double().mean())


def own_loop(model, attack, images, labels) -> float:
    """Return the robust accuracy as somebody measures it who has only the library."""
    torch.manual_seed(SEED)
    found = attack(images.clone(), labels.clone())
    model.zero_grad(set_to_none=True)
    return left(model, found, labels)


def wrapped(model, function, images, labels) -> float:
    found = run_function(function, model, images, labels, THREAT, seed=SEED)
    assert found.inside.all()
    return left(model, found.images, labels)


def test_foolbox(trained, right):
    foolbox = pytest.importorskip("foolbox")
    attack = foolbox.attacks.LinfPGD(rel_stepsize=0.25, steps=STEPS)  # it starts at random
    model = foolbox.PyTorchModel(trained, bounds=(0, 1))
    theirs = own_loop(trained, lambda images, labels: attack(model, images, labels, epsilons=EPS)[1], *right)
    assert 0.05 < theirs < 0.95
    assert wrapped(trained, of_foolbox(attack), *right) == theirs


def test_torchattacks(trained, right):
    torchattacks = pytest.importorskip("torchattacks")
    theirs = own_loop(trained, torchattacks.PGD(trained, eps=EPS, alpha=EPS / 4, steps=STEPS), *right)
    assert 0.05 < theirs < 0.95
    make = of_torchattacks(lambda model, threat: torchattacks.PGD(model, eps=threat.eps, alpha=EPS / 4, steps=STEPS))
    assert wrapped(trained, make, *right) == theirs


def test_adv_lib(trained, right, monkeypatch):
    monkeypatch.setitem(sys.modules, "visdom", sys.modules.get("visdom") or ModuleType("visdom"))  # it only plots
    attacks = pytest.importorskip("adv_lib.attacks")
    apgd = partial(attacks.apgd, norm=float("inf"), n_iter=STEPS)
    theirs = own_loop(trained, partial(apgd, trained, eps=EPS), *right)
    assert 0.05 < theirs < 0.95
    assert wrapped(trained, of_adv_lib(apgd), *right) == theirs
