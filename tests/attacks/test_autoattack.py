"""AutoAttack through its library. The extra is part of `test`, so .ci/run does run these."""

import builtins

import pytest
import torch

from nrf_ray.attacks import autoattack
from nrf_ray.attacks.autoattack import run_autoattack
from nrf_ray.attacks.robustness import AgainstAutoAttack, against_autoattack, robust_accuracy
from nrf_ray.attacks.run import run_attack
from nrf_ray.attacks.specs import AutoAttack, pgd_attack
from nrf_ray.attacks.threat import ThreatModel, perturbation_norm
from nrf_ray.data.images import LabelledImages
from nrf_ray.engine.predict import predict, share
from nrf_ray.errors import ConfigError
from tests.trust.defence import Behind, turned

DUAL = {"l2": 2, "linf": 1}


def plant(linear, classes, side):
    """Return a linear network, and 16 images far from the box that it labels itself."""
    generator = torch.Generator().manual_seed(0)
    model = linear(torch.randn(classes, side**2, generator=generator))
    images = 0.5 + 0.2 * (torch.rand(16, 1, side, side, generator=generator) - 0.5)
    return model, LabelledImages(images=images, labels=predict(model, images))


@pytest.fixture(scope="module")
def planted(linear):
    """Return a linear network of ten classes and its images."""
    return plant(linear, 10, 5)


def distances(model, data, norm):
    """Return how far each image of `data` is from the nearest other class of a linear `model`, in closed form."""
    logits, own = model(data.images).detach(), data.labels.unsqueeze(1)
    lengths = (model.weight[data.labels].unsqueeze(1) - model.weight).norm(p=DUAL[norm], dim=2).detach()
    apart = (logits.gather(1, own) - logits) / lengths
    return apart.scatter(1, own, torch.inf).amin(dim=1)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_it_reaches_the_closed_form_and_touches_nothing_else(planted, norm, tmp_path, monkeypatch, caplog):
    pytest.importorskip("pyautoattack")
    monkeypatch.chdir(tmp_path)
    model, data = planted
    far = distances(model, data, norm)
    eps = float(far.median()) * 1.01
    attack, state = AutoAttack(threat=ThreatModel(norm=norm, eps=eps), version="apgd"), torch.random.get_rng_state()
    found = run_autoattack(attack, model, data.images, data.labels, seed=1).images
    assert torch.equal(predict(model, found) != data.labels, far < eps)
    assert 0 < share(far < eps) < 1
    assert perturbation_norm(found - data.images, norm).max() <= eps * (1 + 1e-5) + 1e-6
    assert torch.equal(run_attack(attack, model, data.images, data.labels, seed=1), found)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert list(tmp_path.iterdir()) == []
    assert caplog.records == []
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


@pytest.fixture
def few_queries(monkeypatch):
    """Let Square have 500 queries and not 5000, which take ten seconds; another test counts them."""
    pytest.importorskip("pyautoattack")
    made = autoattack._adversary

    def hasty(*given):
        adversary = made(*given)
        adversary.square.n_queries = 500
        return adversary

    monkeypatch.setattr(autoattack, "_adversary", hasty)


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("classes", [2, 3])
def test_few_classes_reach_the_closed_form(classes, norm, linear, few_queries):
    model, data = plant(linear, classes, 5)
    far = distances(model, data, norm)
    eps = float(far.median()) * 1.01
    attack = AutoAttack(threat=ThreatModel(norm=norm, eps=eps), version="few-classes")
    found = run_autoattack(attack, model, data.images, data.labels, seed=1)
    assert torch.equal(predict(model, found.images) != data.labels, far < eps)
    assert 0 < share(far < eps) < 1
    assert not found.by_square.any()
    assert perturbation_norm(found.images - data.images, norm).max() <= eps * (1 + 1e-5) + 1e-6


def test_a_masked_model_of_two_classes_is_caught_by_square(linear, few_queries):
    """Two classes by mean grey value, .05 from the boundary: gradients lead away from it, and windows cross it."""
    brightness = torch.ones(1, 25) * torch.tensor([[1.0], [-1.0]])
    model = linear(brightness, [-12.5, 12.5])
    labels = torch.arange(16) % 2
    noise = 0.1 * (torch.rand(16, 25, generator=torch.Generator().manual_seed(0)) - 0.5)
    images = 0.5 + (0.05 * (1 - 2 * labels)).unsqueeze(1) + noise - noise.mean(dim=1, keepdim=True)
    data = LabelledImages(images=images.view(16, 1, 5, 5), labels=labels)
    attack = AutoAttack(threat=ThreatModel(norm="linf", eps=0.1), version="few-classes")
    found = against_autoattack(Behind(model, before=turned(torch.neg)), data, attack)
    assert found.verdicts == {"gap": "WARN", "square": "WARN"}
    assert found.under_pgd == 1.0
    assert found.by_square >= 0.5
    assert found.robust_accuracy + found.by_square >= 15 / 16, "a random start may fool an image"


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_our_restarts_on_the_margin_reach_the_closed_form_too(planted, norm):
    """Cross-entropy would spread its steps over all other classes and miss the nearest."""
    model, data = planted
    far = distances(model, data, norm)
    eps = float(far.median()) * 1.01
    attack = pgd_attack(norm, eps, steps=20, restarts=10, loss="margin")
    assert robust_accuracy(model, data, attack) == pytest.approx(share(far >= eps), abs=1 / 16)


def test_standard_runs_all_four_attacks(planted, monkeypatch):
    library = pytest.importorskip("pyautoattack")
    ran = []

    def evaluation(self, images, labels, /, *, batch_size):
        ran.append((self.attacks_to_run, self.epsilon, self.norm, self.square.n_queries, self.apgd.n_iter))
        return images, labels

    monkeypatch.setattr(library.AutoAttack, "run_standard_evaluation", evaluation)
    run_autoattack(
        AutoAttack(threat=ThreatModel(norm="l2", eps=0.5)), planted[0], planted[1].images, planted[1].labels, seed=0
    )
    assert ran == [
        (["apgd-ce", "apgd-t", "fab-t"], 0.5, "L2", 5000, 100),
        (["square"], 0.5, "L2", 5000, 100),
    ]


@pytest.mark.parametrize("who", ["gradients", "square", "nobody"])
def test_what_square_alone_fools_is_counted(who, planted, monkeypatch):
    """The library is replaced: one of its parts fools the first three images it is given."""
    library = pytest.importorskip("pyautoattack")
    model, data = planted
    far = distances(model, data, "linf") < 0.4

    def evaluation(self, images, labels, /, *, batch_size):
        parts = {"gradients": "apgd-t", "square": "square", "nobody": ""}
        if parts[who] not in self.attacks_to_run:
            return images, labels
        pgd = pgd_attack("linf", 0.4, steps=20, loss="margin")
        return run_attack(pgd, model, images, labels, seed=0), labels

    monkeypatch.setattr(library.AutoAttack, "run_standard_evaluation", evaluation)
    attack = AutoAttack(threat=ThreatModel(norm="linf", eps=0.4))
    found = against_autoattack(model, data, attack)
    assert found.by_square == (share(far) if who == "square" else 0.0)
    assert found.robust_accuracy == (1.0 if who == "nobody" else share(~far))
    assert found.under_pgd == pytest.approx(share(~far), abs=1 / 16)
    assert found.missed == pytest.approx(share(far) if who == "nobody" else 0.0, abs=1 / 16)
    gap = "FAIL" if who == "nobody" else "PASS"
    assert found.verdicts == {"gap": gap, "square": "WARN" if who == "square" else "PASS"}


def against_100(*, under_pgd: float, missed: float) -> AgainstAutoAttack:
    """Return what AutoAttack found on 100 images, of which it left 44."""
    left = torch.arange(100) < 44
    return AgainstAutoAttack(robust_accuracy=0.44, under_pgd=under_pgd, missed=missed, by_square=0.0, left=left)


def test_a_gap_to_pgd_of_more_than_six_points_is_said():
    assert against_100(under_pgd=0.49, missed=0.0).verdicts["gap"] == "PASS"
    assert against_100(under_pgd=0.51, missed=0.0).verdicts["gap"] == "WARN"


def test_an_autoattack_that_pgd_beats_is_no_ground_for_a_level():
    """Regression: on a network that clamps its input AutoAttack left .40 where PGD left .35, and that was L3."""
    assert against_100(under_pgd=0.43, missed=0.01).verdicts["gap"] == "PASS"
    assert against_100(under_pgd=0.42, missed=0.02).verdicts["gap"] == "WARN"
    assert against_100(under_pgd=0.40, missed=0.04).verdicts["gap"] == "FAIL"


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_black_and_white_pixels_behind_a_clamp_are_moved_too(linear, norm):
    pytest.importorskip("pyautoattack")
    generator = torch.Generator().manual_seed(0)
    model = linear(torch.randn(10, 25, generator=generator))
    images = torch.randint(0, 2, (16, 1, 5, 5), generator=generator).float()
    data = LabelledImages(images=images, labels=predict(model, images))
    attack = AutoAttack(threat=ThreatModel(norm=norm, eps={"l2": 0.8, "linf": 0.2}[norm]), version="apgd")
    clamped = Behind(model, before=lambda pixels: pixels.clamp(0, 1))
    plain = run_autoattack(attack, model, images, data.labels, seed=0).images
    assert share(predict(model, plain) != data.labels) > 0.2
    assert torch.equal(run_autoattack(attack, clamped, images, data.labels, seed=0).images, plain)


def test_both_parts_run_by_the_real_library_find_what_one_call_finds(planted):
    """The library gives Square the images that are left, and so do we."""
    library = pytest.importorskip("pyautoattack")
    model, data = planted
    eps = float(distances(model, data, "linf").median())
    attack = AutoAttack(threat=ThreatModel(norm="linf", eps=eps))
    ours = run_autoattack(attack, model, data.images, data.labels, seed=3).images
    whole = library.AutoAttack(model, norm="Linf", eps=eps, seed=3, device="cpu")
    theirs, _ = whole.run_standard_evaluation(data.images, data.labels, batch_size=256)
    assert torch.equal(predict(model, ours), predict(model, theirs))


def test_without_the_extra_the_command_that_installs_it_is_named(planted, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "pyautoattack":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'nrf_ray\[autoattack\]'"):
        run_autoattack(
            AutoAttack(threat=ThreatModel(norm="l2", eps=0.5)), planted[0], planted[1].images, planted[1].labels, seed=0
        )


def test_few_classes_are_run_in_three_parts(linear, monkeypatch):
    library = pytest.importorskip("pyautoattack")
    model, data = plant(linear, 2, 5)
    ran = []

    def evaluation(self, images, labels, /, *, batch_size):
        ran.append((self.attacks_to_run, self.square.n_queries, self.apgd.n_iter))
        return images, labels

    def margin(attack, model, images, labels, *, starts):
        ran.append(([attack.name], attack.threat, starts.indices.tolist()))
        return images

    monkeypatch.setattr(library.AutoAttack, "run_standard_evaluation", evaluation)
    monkeypatch.setattr(autoattack, "run_batches", margin)
    threat = ThreatModel(norm="l2", eps=0.5)
    few = AutoAttack(threat=threat, version="few-classes")
    run_autoattack(few, model, data.images, data.labels, seed=0)
    assert ran == [
        (["apgd-ce"], 5000, 100),
        (["pgd-100x10-margin"], threat, list(range(16))),
        (["square"], 5000, 100),
    ]


@pytest.mark.parametrize(
    ("version", "classes", "side", "said"),
    [
        ("few-classes", 4, 5, "square is for at most 3 classes, and the Linear has 4; use autoattack"),
        ("few-classes", 2, 4, "needs images of at least 5 rows in l2, not 4; use pgd-50x10"),
        ("standard", 4, 4, "Square, a part of autoattack, needs images of at least 5 rows in l2, not 4"),
        ("apgd", 3, 5, "apgd-ce.t needs at least 4 classes, and the Linear has 3; use few-classes"),
    ],
)
def test_a_model_that_a_version_cannot_attack_is_refused(version, classes, side, said, linear):
    """Regression: the library's Square divides by zero at images of four rows, in l2."""
    pytest.importorskip("pyautoattack")
    model, data = plant(linear, classes, side)
    attack = AutoAttack(threat=ThreatModel(norm="l2", eps=0.1), version=version)
    with pytest.raises(ConfigError, match=said):
        run_autoattack(attack, model, data.images, data.labels, seed=0)


def test_an_unknown_version_is_refused():
    with pytest.raises(ConfigError, match="known: standard, apgd, few-classes"):
        AutoAttack(threat=ThreatModel(norm="l2", eps=0.5), version="plus")
