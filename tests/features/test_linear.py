"""Linear features: exact worst cases against brute force, regression against scikit-learn, leakage that is known."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from nrf_ray.errors import ConfigError
from nrf_ray.features import linear, singular
from nrf_ray.features.linear import Linear


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def random_model(classes, seed=0):
    return Linear(
        weights=torch.randn(classes, 2, generator=rng(seed), dtype=torch.float64),
        bias=torch.randn(classes, generator=rng(seed + 1), dtype=torch.float64),
    )


def ball(norm, eps):
    """Return many points of the boundary of the ball of radius eps in the plane, [m, 2]."""
    angles = torch.linspace(0, 2 * math.pi, 4001, dtype=torch.float64)
    circle = torch.stack([angles.cos(), angles.sin()], dim=1)
    lengths = circle.norm(dim=1) if norm == "l2" else circle.abs().amax(dim=1)
    corners = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    return eps * (circle / lengths[:, None] if norm == "l2" else torch.cat([circle / lengths[:, None], corners]))


def worst_found(model, point, label, norm, eps):
    moved = point + ball(norm, eps)
    labels = torch.full((len(moved),), int(label))
    return torch.nn.functional.cross_entropy(model.logits(moved), labels, reduction="none").max()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_worst_cross_entropy_of_two_classes_is_exact(norm):
    model, points = random_model(2), torch.randn(20, 2, generator=rng(3), dtype=torch.float64)
    labels = torch.arange(20) % 2
    found = linear.worst_cross_entropy(model, points, labels, norm=norm, eps=0.7)
    searched = [worst_found(model, point, label, norm, 0.7) for point, label in zip(points, labels, strict=True)]
    torch.testing.assert_close(found, torch.stack(searched), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_worst_cross_entropy_of_more_classes_is_a_bound(norm):
    model, points = random_model(4), torch.randn(20, 2, generator=rng(3), dtype=torch.float64)
    labels = torch.arange(20) % 4
    found = linear.worst_cross_entropy(model, points, labels, norm=norm, eps=0.7)
    searched = [worst_found(model, point, label, norm, 0.7) for point, label in zip(points, labels, strict=True)]
    assert (found >= torch.stack(searched) - 1e-9).all()
    clean = torch.nn.functional.cross_entropy(model.logits(points), labels, reduction="none")
    torch.testing.assert_close(linear.worst_cross_entropy(model, points, labels, norm=norm, eps=0.0), clean)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_certificates_are_exact(norm):
    model, points = random_model(4), torch.randn(200, 2, generator=rng(5), dtype=torch.float64) * 2
    found = linear.certified(model, points, norm=norm, eps=0.3)
    reach = torch.cat([ball(norm, 0.3), ball(norm, 0.2)])
    constant = [len(set(model.logits(point + reach).argmax(1).tolist())) == 1 for point in points]
    assert 20 < sum(constant) < 180, "both answers occur"
    assert (found != torch.tensor(constant)).sum() <= 1, "one may lie between the directions that were tried"


def test_balls_of_tokens_are_refused():
    model, points = random_model(4), torch.randn(20, 2, generator=rng(3), dtype=torch.float64)
    for asked in (
        lambda: linear.worst_cross_entropy(model, points, torch.arange(20) % 4, norm="l2_token", eps=0.7),
        lambda: linear.certified(model, points, norm="l2_token", eps=0.3),
        lambda: linear.class_usefulness(model, points, torch.arange(20) % 4, norm="l2_token", eps=0.3),
    ):
        with pytest.raises(ConfigError, match="in l2 and linf, not in l2_token"):
            asked()


def test_without_an_adversary_it_is_the_regression_of_scikit_learn():
    points = torch.randn(300, 4, generator=rng(0), dtype=torch.float64)
    labels = (points @ torch.randn(4, 3, generator=rng(1), dtype=torch.float64) + 1).argmax(1)
    ours = linear.fit_linear(points, labels, 3, decay=1e-2)
    theirs = LogisticRegression(C=1 / (300 * 1e-2), tol=1e-8, max_iter=1000).fit(points.numpy(), labels.numpy())
    np.testing.assert_allclose(ours.weights.numpy(), theirs.coef_, atol=1e-4)
    logits = ours.logits(points) - ours.logits(points).mean(1, keepdim=True)
    np.testing.assert_allclose(logits.numpy(), theirs.decision_function(points.numpy()), atol=1e-3)


def test_robust_training_gives_up_the_feature_that_the_adversary_can_turn():
    labels = torch.arange(400) % 2
    signs = 2.0 * labels.double() - 1
    noise = torch.randn(400, 2, generator=rng(0), dtype=torch.float64)
    points = torch.stack([2 * signs + 0.8 * noise[:, 0], 0.1 * signs + 0.02 * noise[:, 1]], dim=1)
    standard, robust = (linear.fit_linear(points, labels, 2, eps=eps, decay=1e-6) for eps in (0.0, 0.5))
    assert standard.accuracy(points, labels) == 1.0
    assert linear.certified(standard, points, norm="l2", eps=0.5).double().mean() < 0.5
    assert robust.accuracy(points, labels) > 0.98
    assert linear.certified(robust, points, norm="l2", eps=0.5).double().mean() > 0.9
    gamma = linear.class_usefulness(robust, points, labels, norm="l2", eps=0.5).gamma
    assert (gamma > 0).all()


def test_leakage_that_is_known():
    labels = torch.arange(1000) % 5
    told = torch.nn.functional.one_hot(labels, 5).double() + 0.1 * torch.randn(1000, 5, generator=rng(0))
    silent = torch.randn(1000, 5, generator=rng(1)).double()
    assert linear.leakage(told, labels, told, labels, 5) > 0.99
    assert linear.leakage(told, (labels + 1) % 5, told, labels, 5) < 0.01, "as D_det: what was learnt is wrong"
    assert linear.leakage(silent[:500], labels[:500], silent[500:], labels[500:], 5) == pytest.approx(0.2, abs=0.09)


def test_a_feature_that_a_set_silences_is_left_out():
    labels = torch.arange(100) % 2
    shown = torch.stack([2.0 * labels - 1, torch.full((100,), 0.3)], dim=1)
    tested = torch.stack([2.0 * labels - 1, torch.randn(100, generator=rng(0))], dim=1)
    assert linear.leakage(shown, labels, tested, labels, 2) == 1.0


# Two Examples of Useful, Non-Robust Features


def many_weak_features(n=2000, d=40):
    """Return points whose first coordinate is large and tells y; each of the others is small and tells little."""
    signs = torch.where(torch.arange(n) % 2 == 0, 1.0, -1.0).double()
    noise = torch.randn(n, d, generator=rng(0), dtype=torch.float64)
    scale = torch.full((d,), 0.01, dtype=torch.float64) * torch.linspace(1.0, 1.2, d)
    scale[0] = 5.0
    useful = torch.full((d,), 0.15, dtype=torch.float64)
    useful[0] = 0.5
    points = scale * (noise + useful * signs[:, None])
    return points - points.mean(0), signs


def test_singular_features_lie_at_their_singular_values():
    points, signs = many_weak_features()
    axes = singular.singular_features(points)
    torch.testing.assert_close(axes @ axes.T, torch.eye(len(axes), dtype=torch.float64))
    found = singular.places(axes, points, signs)
    values = torch.linalg.svdvals(points) / math.sqrt(len(points))
    torch.testing.assert_close(found.log_robustness, values.log())
    assert (found.log_robustness.diff() <= 1e-12).all()


def test_an_ensemble_of_hardly_useful_features_is_useful_and_not_robust():
    points, signs = many_weak_features()
    axes = singular.singular_features(points)
    members = singular.places(axes, points, signs)
    whole = singular.places(singular.ensemble(axes, points, signs, below=0.0), points, signs)
    assert whole.log_robustness < -4
    assert whole.log_usefulness.exp() > 2 * members.log_usefulness[1:].exp().mean()


def test_a_containment_borrows_its_usefulness_from_the_robust_part():
    points, signs = many_weak_features()
    robust, weak = torch.eye(40, dtype=torch.float64)[:1], torch.eye(40, dtype=torch.float64)[-1:]
    mixed = singular.places(singular.containment(weak, robust, 0.01), points, signs)
    parts = singular.places(torch.cat([robust, weak]), points, signs)
    assert parts.log_robustness[1] < mixed.log_robustness < parts.log_robustness[0]
    assert mixed.log_usefulness > parts.log_usefulness[1] + 0.5
    torch.testing.assert_close(singular.containment(weak, robust, 1.0), robust)
    torch.testing.assert_close(singular.containment(weak, robust, 0.0), weak)


def test_directions_without_spread_are_left_out():
    points = torch.randn(50, 3, generator=rng(0), dtype=torch.float64)
    flat = torch.cat([points, points[:, :1]], dim=1)
    assert len(singular.singular_features(flat - flat.mean(0))) == 3


def test_two_classes_are_centred_and_signed():
    points, labels = torch.randn(90, 3, generator=rng(0)), torch.arange(90) % 3
    chosen, signs = singular.two_classes(points, labels, 2, 0)
    assert (len(chosen), int((signs == 1).sum()), int((signs == -1).sum())) == (60, 30, 30)
    assert chosen.mean(0).abs().max() < 1e-6
    torch.testing.assert_close(chosen[signs == 1], points[labels == 2] - points[labels != 1].mean(0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(lambda p, s: singular.ensemble(torch.eye(3), p, s, below=-50.0), r"below -50", id="none below"),
        pytest.param(lambda p, s: singular.containment(p, p, 1.5), r"alpha in \[0, 1\], not 1\.5", id="alpha"),
        pytest.param(lambda p, s: singular.two_classes(p, s.long(), 1, 7), r"class 7 has no points", id="class"),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call(torch.randn(10, 3, generator=rng(0)), torch.tensor([1.0, -1.0] * 5))
