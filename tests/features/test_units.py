"""Usefulness against its definition: closed form against PGD, known features, and what the scores cannot see."""

import math

import pytest
import torch
from torch import nn

from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.data.images import LabelledImages
from nrf_ray.errors import ConfigError
from nrf_ray.features import units as features
from nrf_ray.features.units import Questions, Units, Usefulness
from nrf_ray.models.classifier import Classifier


def linear_model(weights, head=None):
    """Return a model whose units are weights . x, with `head` [k, units] on top."""
    body = nn.Sequential(nn.Flatten(), nn.Linear(weights.shape[1], len(weights), bias=False))
    model = Classifier(body, width=len(weights), num_classes=2, mean=(0.0,), std=(1.0,))
    with torch.no_grad():
        body[1].weight.copy_(weights)
        if head is not None:
            model.head.weight.copy_(head)
            model.head.bias.zero_()
    return model.eval()


def two_class_images(n, seed):
    """Return grey images in [.4, .6], so that no ball of .2 meets the box, which depend on their labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    images = 0.5 + 0.04 * torch.randn(n, 1, 4, 4, generator=generator) + 0.02 * (labels.view(-1, 1, 1, 1) - 0.5)
    return LabelledImages(images=images.clamp(0.4, 0.6), labels=labels)


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("eps", [0.01, 0.2])
def test_the_closed_form_of_linear_features_is_what_pgd_finds(norm, eps):
    data = two_class_images(200, seed=0)
    weights = torch.randn(5, 16, generator=torch.Generator().manual_seed(1))
    units = Units(linear_model(weights), data.images)
    questions = features.best_questions(features.values_of(units, data.images), data.labels, 2)
    found = features.unit_usefulness(units, questions, data, pgd_attack(norm, eps, steps=20))
    signs = 2.0 * data.labels.double() - 1
    exact = features.linear_usefulness(weights.double(), data.images.flatten(1).double(), signs, norm=norm, eps=eps)
    torch.testing.assert_close(found.rho.double(), exact.rho, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.gamma.double(), exact.gamma, rtol=0, atol=1e-4)
    assert (exact.gamma < exact.rho).all()


def test_usefulness_of_features_that_are_known():
    signs = torch.tensor([1.0, -1.0] * 500, dtype=torch.float64)
    noise = torch.randn(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points = torch.stack([signs, 0.01 * signs, noise], dim=1)
    found = features.linear_usefulness(torch.eye(3, dtype=torch.float64), points, signs, norm="l2", eps=0.1)
    assert found.rho.tolist() == pytest.approx([1, 1, 0], abs=0.1)
    assert found.gamma[0] == pytest.approx(1 - 0.1)
    assert found.gamma[1] == pytest.approx(1 - 0.1 / 0.01)
    assert features.count(found, 0.2) == (1, 1, 1)


def test_usefulness_does_not_depend_on_scale_shift_or_sign():
    data = two_class_images(100, seed=3)
    points, signs = data.images.flatten(1).double(), 2.0 * data.labels.double() - 1
    weights = torch.randn(1, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    first, other = (
        features.linear_usefulness(a, points + shift, signs, norm="linf", eps=0.01)
        for a, shift in ((weights, 0.0), (-7 * weights, 3.0))
    )
    torch.testing.assert_close(first.rho, other.rho)
    torch.testing.assert_close(first.gamma, other.gamma)


def test_counts_are_a_partition():
    rho, gamma = torch.tensor([0.5, 0.5, 0.5, 0.05, 0.05]), torch.tensor([0.1, 0.0, -2.0, 0.04, -1.0])
    assert features.count(Usefulness(rho, gamma), 0.1) == (1, 2, 2)


def test_a_feature_is_asked_about_the_class_that_it_tells_most_of():
    labels = torch.arange(300) % 3
    values = torch.stack([(labels == 2).float(), -(labels == 1).float()], dim=1)
    values = (values - values.mean(0)) / values.std(0, correction=0)
    questions = features.best_questions(values, labels, 3)
    assert questions.classes.tolist() == [2, 1]
    assert questions.signs.tolist() == [1, -1]
    rho = (questions.answers(labels) * values).mean(0)
    highest = 2 * math.sqrt(2) / 3
    assert rho.tolist() == pytest.approx([highest, highest]), "the most that k = 3 balanced classes allow"


def test_a_feature_without_variance_is_named():
    points = torch.stack([torch.arange(4.0), torch.full((4,), 0.3), torch.arange(4.0), torch.zeros(4)], dim=1)
    with pytest.raises(ConfigError, match=r"2 of 4 features have zero variance \(indices 1, 3\)"):
        features.linear_usefulness(torch.eye(4), points, torch.tensor([1.0, 1, -1, -1]), norm="l2", eps=0.1)


def test_units_that_never_vary_are_left_out_and_counted():
    data = two_class_images(50, seed=0)
    weights = torch.cat([torch.randn(3, 16, generator=torch.Generator().manual_seed(0)), torch.zeros(2, 16)])
    units = Units(linear_model(weights), data.images)
    assert (units.total, units.live.tolist()) == (5, [0, 1, 2])
    values = features.values_of(units, data.images)
    assert values.mean(0).abs().max() < 1e-4
    assert (values.std(0, correction=0) - 1).abs().max() < 1e-3


def test_robust_usefulness_falls_with_the_radius_and_leaves_the_model_alone():
    data = two_class_images(40, seed=0)
    model = linear_model(torch.randn(4, 16, generator=torch.Generator().manual_seed(0)))
    units = Units(model, data.images)
    questions = Questions(torch.zeros(4, dtype=torch.int64), torch.ones(4))
    gammas = [
        features.unit_usefulness(units, questions, data, pgd_attack("l2", eps, steps=5)).gamma for eps in (0.01, 0.1)
    ]
    assert (gammas[1] < gammas[0]).all()
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_gradient_alignment_of_two_gaussians_is_the_cosine_of_theorem_3():
    mean = torch.zeros(16)
    mean[0], mean[1] = 0.04, 0.03
    normal = mean / torch.linspace(1, 10, 16)
    offsets = torch.randn(100, 16, generator=torch.Generator().manual_seed(0)) * 0.01
    points = torch.cat([0.5 + mean + offsets, 0.5 - mean - offsets])
    labels = torch.cat([torch.ones(100), torch.zeros(100)]).long()
    offsets = offsets.mean(0)
    data = LabelledImages(images=points.view(-1, 1, 4, 4), labels=labels)
    model = linear_model(torch.eye(16), head=torch.stack([-normal, normal]))
    expected = torch.cosine_similarity(normal, mean + offsets, dim=0)
    assert features.gradient_alignment(model, data, 2) == pytest.approx(float(expected), abs=1e-5)


def test_the_input_gradient_score_of_a_linear_model_is_its_closed_form():
    """The gradient of the cross-entropy is (softmax - one-hot) times the weights."""
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(300, 1, 4, 4, generator=generator), torch.arange(300) % 2
    weights = torch.randn(2, 16, generator=generator)
    model = linear_model(torch.eye(16), head=weights)
    score = features.input_gradient_score(model, LabelledImages(images=images, labels=labels))
    pixels = images.flatten(1)
    wrong = (pixels @ weights.T + model.head.bias.detach()).softmax(1) - torch.nn.functional.one_hot(labels, 2)
    expected = ((wrong @ weights) * pixels).mean(0).abs()
    torch.testing.assert_close(score, expected.view(1, 4, 4))


def test_the_input_gradient_score_and_its_weakness():
    labels = torch.tensor([0, 1, 0, 1])
    images = torch.full((4, 1, 4, 4), 0.5)
    images[:, 0, 0, 0] = 0.0
    model = linear_model(torch.eye(16), head=torch.stack([torch.ones(16), -torch.ones(16)]))
    score = features.input_gradient_score(model, LabelledImages(images=images, labels=torch.zeros(4).long()))
    assert score[0, 0, 0] == 0, "black, though its gradient is as large as that of the others"
    assert score[0, 1, 1] > 0
    cancelled = features.input_gradient_score(
        linear_model(torch.zeros(16, 16), head=torch.zeros(2, 16)), LabelledImages(images=images, labels=labels)
    )
    assert cancelled.max() == 0
