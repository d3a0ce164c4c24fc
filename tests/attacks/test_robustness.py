"""Measurements: shares that can be counted by hand, and robust accuracy against attacking everything."""

import pytest
import torch
from torch import nn

from nrf_ray.attacks.robustness import robust_accuracy
from nrf_ray.attacks.run import run_attack
from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.attacks.threat import perturbation_norm
from nrf_ray.data.images import LabelledImages, as_uint8
from nrf_ray.engine.predict import BATCH, accuracy, batches, next_labels, predict, share


class Brightest(nn.Module):
    """Predicts the place of the brightest pixel."""

    def forward(self, images):
        """Return the logits."""
        return images.flatten(1)


def spots(places, width=5):
    """Return images whose pixel at the place is bright, [n, 1, 1, width]."""
    return nn.functional.one_hot(torch.as_tensor(places), width).float().view(-1, 1, 1, width)


@pytest.mark.parametrize("n", [1, 5, BATCH, BATCH + 1, 600])
def test_predictions_and_accuracy_known_answers(n):
    places = torch.arange(n) % 5
    images = spots(places)
    assert torch.equal(predict(Brightest(), images), places)
    assert torch.equal(predict(Brightest(), as_uint8(images)), places)
    labels = places.clone()
    labels[: n // 3] = (labels[: n // 3] + 1) % 5
    assert accuracy(Brightest(), images, labels) == pytest.approx(1 - (n // 3) / n)


def test_predictions_are_made_in_eval_mode_and_without_gradients_and_the_mode_comes_back():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.9)).train()
    model[0].eval()
    places = torch.arange(100) % 5
    assert torch.equal(predict(model, spots(places)), places), "dropout would move them"
    assert [module.training for module in (model, *model)] == [True, False, True]


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("eps", [0.05, 0.3, 1.0])
def test_robust_accuracy_equals_attacking_everything(trained, digits, norm, eps):
    """Images that are wrong when clean are not attacked; that must change nothing."""
    data = LabelledImages(images=digits[1].images[:200], labels=digits[1].labels[:200].clone())
    data.labels[::10] = (data.labels[::10] + 1) % 10  # some that are wrong when clean
    attack = pgd_attack(norm, eps, steps=5)
    right = predict(trained, data.images) == data.labels
    attacked = run_attack(attack, trained, data.images, data.labels)
    by_force = int((right & (predict(trained, attacked) == data.labels)).sum()) / 200
    assert robust_accuracy(trained, data, attack) == pytest.approx(by_force, abs=1e-12)
    assert not right.all()


def test_robust_accuracy_known_answer(linear):
    """Two classes, margin 2 (x - 0.5) in one pixel: right and robust to 0.1 where x > 0.6."""
    model = linear(torch.tensor([[1.0], [-1.0]]), [-0.5, 0.5])
    images = torch.tensor([0.2, 0.45, 0.55, 0.58, 0.65, 0.9]).view(-1, 1, 1, 1)
    data = LabelledImages(images=images, labels=torch.zeros(6, dtype=torch.int64))
    assert accuracy(model, data.images, data.labels) == pytest.approx(4 / 6)
    for norm in ("l2", "linf"):
        assert robust_accuracy(model, data, pgd_attack(norm, 0.1, steps=5)) == pytest.approx(2 / 6)


def test_robust_accuracy_of_a_network_that_is_never_right_is_zero():
    places = torch.arange(6) % 5
    data = LabelledImages(images=spots(places), labels=(places + 1) % 5)
    assert robust_accuracy(Brightest(), data, pgd_attack("l2", 0.1, steps=2)) == 0.0


def test_robust_accuracy_of_images_at_eight_bits(trained, digits):
    stored = LabelledImages(images=as_uint8(digits[1].images[:64]), labels=digits[1].labels[:64])
    floats = LabelledImages(images=stored.floats(), labels=stored.labels)
    attack = pgd_attack("l2", 0.5, steps=3)
    assert robust_accuracy(trained, stored, attack) == robust_accuracy(trained, floats, attack)


def test_images_of_many_batches_keep_their_order(trained, digits):
    data = digits[1]
    attack = pgd_attack("l2", 0.5, steps=2)
    found = run_attack(attack, trained, data.images, data.labels)
    assert found.shape == data.images.shape
    assert perturbation_norm(found - data.images, "l2").max() <= 0.5 + 1e-5
    last = run_attack(attack, trained, data.images[BATCH:], data.labels[BATCH:])
    assert torch.equal(found[BATCH:], last)


def test_next_labels_known_answers():
    assert next_labels(torch.tensor([0, 1, 8, 9]), 10).tolist() == [1, 2, 9, 0]


def test_share_known_answers():
    assert share(torch.tensor([True, False, False, True])) == 0.5
    assert share(torch.ones(3, dtype=torch.bool)) == 1.0
    # float32 cannot count so far: a share of 2^24 + 1 images must not lose the last one
    assert share(torch.arange(2**24 + 2) > 0) == 1 - 1 / (2**24 + 2)


@pytest.mark.parametrize(("n", "size"), [(0, 4), (1, 4), (4, 4), (9, 4), (8, 3)])
def test_batches_cover_everything_once_in_order(n, size):
    rows = [range(n)[part] for part in batches(n, size)]
    assert [row for part in rows for row in part] == list(range(n))
    assert all(len(part) <= size for part in rows)
