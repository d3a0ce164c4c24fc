"""How the gallery is measured: truth by a closed form, honest kinds, the command's rows and the committed table."""

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
    logits, weight = network(images).detach(), network.weight.detach()
    gaps = logits.gather(1, labels.unsqueeze(1)) - logits
    lengths = (weight[labels].unsqueeze(1) - weight).norm(dim=2)
    far = (gaps / lengths).scatter(1, labels.unsqueeze(1), torch.inf).amin(dim=1)
    eps = float(far.median()) * 1.01
    robust = far > eps
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
    assert "autoattack" not in row


def test_autoattack_is_run_where_no_check_failed():
    data, threat = measure.examples(6), ThreatModel(norm="l2", eps=0.6)
    model = measure.networks().base
    assert measure.autoattack_of(model, data, threat, {"slope": "FAIL"}) == {}
    assert measure.autoattack_of(model, data, threat, {"refused": "no gradient"}) == {}
    row = measure.autoattack_of(model, data, threat, {"restarts": "WARN"})
    assert 0 <= row["autoattack"] <= 1
    assert row["autoattack_level"] == "L3"
    assert measure.autoattack_of(model, data, threat, {"images": "WARN"})["autoattack_level"] == "L0"


def test_parts_of_a_row_are_kept_beside_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "TABLE", tmp_path / "gallery.jsonl")
    key = measure.key_of("sign", "shattered", ThreatModel(norm="l2", eps=0.4), 300)
    truth = {"truth": 0.5, "low": 0.4, "high": 0.6, "found": {}, "truth_seconds": 1.0}
    says = {"product": 0.7, "level": "L1", "alarms": {}, "product_seconds": 1.0}
    measure.keep(key | truth)
    assert measure.keep(key | says) == key | truth | says
    assert "<< bought" in measure.line(measure.keep(key | says))
    assert measure.keep(key | says | {"n": 200}) == key | says | {"n": 200}  # not beside the truth of other images
    assert len(measure.kept()) == 1
    measure.keep(key | says | {"autoattack": 0.6})
    assert "autoattack" not in measure.keep(key | says | {"alarms": {"noise": "FAIL"}})


def test_a_level_is_bought_by_a_number_above_the_interval_alone():
    row = {"family": "gradient", "level": "L1", "product": 0.7, "high": 0.6}
    assert measure.bought(row)
    assert not measure.bought(row | {"product": 0.6})
    assert not measure.bought(row | {"level": "L0"})
    assert not measure.bought({"family": "honest", "level": "L1", "product": 0.7})
    below = row | {"level": "L0", "autoattack_level": "L3", "autoattack": 0.6}
    assert not measure.bought(below)
    assert measure.bought(below | {"autoattack": 0.7})
    assert not measure.bought(below | {"autoattack": 0.7, "autoattack_level": "L0"})


def test_twelve_honest_kinds_make_72_runs():
    assert sum(len(SEEDS) * len(kind.radii) for kind in HONEST.values()) == 72


@pytest.mark.parametrize("name", ["standard", "rounded-weights", "two-classes"])
def test_honest_kinds_are_right_on_most_images(name):
    kind = HONEST[name]
    model, data = kind.make(0), kind.images(360)
    assert accuracy(model, data.images, data.labels) > 0.9
    if name == "rounded-weights":
        assert all(len(module.weight.unique()) <= 17 for module in model if hasattr(module, "weight"))


def test_the_whole_table_was_measured_and_no_row_of_it_bought_a_level():
    rows = measure.kept()
    expected = {
        (name, *radius)
        for name in DEFENCES
        for radius in measure.RADII + (measure.LINF if name in measure.IN_LINF else ())
    }
    assert {key for key, row in rows.items() if row["family"] != "honest"} == expected
    assert [measure.line(row) for row in rows.values() if measure.bought(row)] == []
    honest = [row for row in rows.values() if row["family"] == "honest"]
    assert len(honest) == 72
    assert sum(row["level"] == "L0" for row in honest) <= 4
    assert min(row["n"] for row in rows.values()) >= 100
