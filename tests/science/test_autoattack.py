"""AutoAttack through its library. The extra is part of `test`, so .ci/run does run these."""

import builtins

import pytest
import torch

from nrf_ray.autoattack import run_autoattack
from nrf_ray.data.images import LabelledImages
from nrf_ray.errors import ConfigError
from nrf_ray.evaluation import predict, right_when_clean, robust_accuracy, share
from nrf_ray.specs import AutoAttack, pgd_attack
from nrf_ray.threat import ThreatModel, perturbation_norm

EPS = {"l2": 0.5, "linf": 0.05}


@pytest.fixture(scope="module")
def right(trained, digits):
    rows = right_when_clean(trained, digits[1])[:16]
    return LabelledImages(images=digits[1].images[rows], labels=digits[1].labels[rows])


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_it_is_at_least_as_strong_as_pgd_stays_in_the_ball_and_touches_nothing(
    trained, right, norm, tmp_path, monkeypatch, caplog
):
    pytest.importorskip("pyautoattack")
    monkeypatch.chdir(tmp_path)
    state, attack = (
        torch.random.get_rng_state(),
        AutoAttack(threat=ThreatModel(norm=norm, eps=EPS[norm]), version="apgd"),
    )
    found, again = (run_autoattack(attack, trained, right.images, right.labels, seed=1) for _ in range(2))
    assert torch.equal(found, again)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert list(tmp_path.iterdir()) == []
    assert caplog.records == []
    assert all(parameter.grad is None and parameter.requires_grad for parameter in trained.parameters())
    assert perturbation_norm(found - right.images, norm).max() <= EPS[norm] * (1 + 1e-5) + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1
    robust = share(predict(trained, found) == right.labels)
    assert robust == robust_accuracy(trained, right, attack, seed=1)
    assert robust <= robust_accuracy(trained, right, pgd_attack(norm, EPS[norm]))
    assert robust < 1, "it fools nothing here: the test shows nothing"


def test_standard_runs_all_four_attacks(trained, right, monkeypatch):
    library = pytest.importorskip("pyautoattack")
    ran = []

    def evaluation(self, images, labels, /, *, batch_size):
        ran.append((self.attacks_to_run, self.epsilon, self.norm, self.square.n_queries, self.apgd.n_iter))
        return images, labels

    monkeypatch.setattr(library.AutoAttack, "run_standard_evaluation", evaluation)
    run_autoattack(AutoAttack(threat=ThreatModel(norm="l2", eps=0.5)), trained, right.images, right.labels, seed=0)
    assert ran == [(["apgd-ce", "apgd-t", "fab-t", "square"], 0.5, "L2", 5000, 100)]


def test_without_the_extra_the_command_that_installs_it_is_named(trained, right, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "pyautoattack":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'nrf_ray\[autoattack\]'"):
        run_autoattack(AutoAttack(threat=ThreatModel(norm="l2", eps=0.5)), trained, right.images, right.labels, seed=0)


def test_a_model_of_three_classes_is_refused(linear):
    pytest.importorskip("pyautoattack")
    attack = AutoAttack(threat=ThreatModel(norm="l2", eps=0.5))
    with pytest.raises(ConfigError, match="at least 4 classes, not 3"):
        run_autoattack(attack, linear(torch.eye(3, 4)), torch.rand(2, 1, 2, 2), torch.zeros(2).long(), seed=0)


def test_an_unknown_version_is_refused():
    with pytest.raises(ConfigError, match="known: standard, apgd"):
        AutoAttack(threat=ThreatModel(norm="l2", eps=0.5), version="plus")
