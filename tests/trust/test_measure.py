"""How the gallery is measured: truth by a closed form, honest kinds, the command's rows and the committed table."""

import json

import pytest
import torch

from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.data.images import LabelledImages
from nrf_ray.engine.predict import accuracy, predict
from tests.networks import Linear
from tests.trust import measure, truth
from tests.trust.defences import DEFENCES
from tests.trust.honest import HONEST, SEEDS


@pytest.fixture
def alone(monkeypatch):
    """Leave out what was found for the three networks."""
    monkeypatch.setattr(truth, "transferred", lambda source, threat, n: ())


def test_truth_of_a_linear_network_is_its_closed_form(alone):
    """Of images half a ball inside the box, those are robust whose margin to every class is above eps |w_y - w_j|."""
    generator = torch.Generator().manual_seed(3)
    network = Linear(torch.randn((10, 64), generator=generator))
    images = 0.5 + 0.1 * (torch.rand((60, 1, 8, 8), generator=generator) - 0.5)
    labels = predict(network, images)
    eps = 0.1
    logits, weight = network(images).detach(), network.weight.detach()
    gaps = logits.gather(1, labels.unsqueeze(1)) - logits
    reach = eps * (weight[labels].unsqueeze(1) - weight).norm(dim=2)
    robust = ((gaps > reach) | (torch.arange(10) == labels.unsqueeze(1))).all(dim=1)
    assert 0.2 < float(robust.double().mean()) < 0.8
    target = truth.Target(answers=lambda found: predict(network, found), module=network, true=network, expected=False)
    found = truth.measured(target, LabelledImages(images=images, labels=labels), ThreatModel(norm="l2", eps=eps))
    assert found.interval.estimate == pytest.approx(float(robust.double().mean()))
    assert sum(found.found.values()) == int((~robust).sum())


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_square_stays_in_the_ball_and_finds_something(norm):
    network = Linear(torch.randn((10, 64), generator=torch.Generator().manual_seed(3)))
    images = torch.full((8, 1, 8, 8), 0.5) + 0.01 * torch.arange(8).view(-1, 1, 1, 1)
    labels, threat = predict(network, images), ThreatModel(norm=norm, eps=0.3)
    found = truth.square(network, images, labels, threat)
    assert (threat.project(found, images) - found).abs().max() < 1e-6
    assert (predict(network, found) != labels).any()


def test_a_row_says_truth_and_what_the_product_says(alone):
    row = measure.broken(DEFENCES["dead-stem"], ThreatModel(norm="l2", eps=0.6), 20)
    assert row["n"] == 20
    assert row["low"] <= row["truth"] <= row["high"]
    assert row["product"] >= row["truth"]
    assert (row["level"], row["alarms"]["gradients"]) == ("L0", "FAIL")
    assert "dead-stem" in measure.line(row)


def test_a_level_is_bought_by_a_number_above_the_interval_alone():
    row = {"family": "gradient", "level": "L1", "product": 0.7, "high": 0.6}
    assert measure.bought(row)
    assert not measure.bought(row | {"product": 0.6})
    assert not measure.bought(row | {"level": "L0"})
    assert not measure.bought(row | {"family": "honest"})


def test_twelve_honest_kinds_make_72_runs():
    assert sum(len(SEEDS) * len(kind.radii) for kind in HONEST.values()) == 72


@pytest.mark.parametrize("name", ["standard", "rounded-weights", "two-classes"])
def test_honest_kinds_are_right_on_most_images(name):
    kind = HONEST[name]
    model, data = kind.make(0), kind.images(360)
    assert accuracy(model, data.images, data.labels) > 0.9
    if name == "rounded-weights":
        assert all(len(module.weight.unique()) <= 17 for module in model if hasattr(module, "weight"))


def test_the_committed_table_has_every_defence_at_both_radii():
    rows = measure.kept()
    assert measure.TABLE.stat().st_size < 100_000
    assert {name for name, _, _ in rows} >= set(DEFENCES)
    for (name, norm, eps), row in rows.items():
        assert row["n"] >= 300
        assert name.split("/")[0] in {*DEFENCES, *HONEST}, (name, norm, eps)
        if row["family"] != "honest":
            assert row["low"] <= row["truth"] <= row["high"]
    for name in DEFENCES:
        assert {(name, norm, eps) for norm, eps in measure.RADII} <= set(rows)
    assert [json.dumps(row) for row in rows.values()] == measure.TABLE.read_text().splitlines()
