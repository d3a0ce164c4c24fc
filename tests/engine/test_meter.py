"""The meter counts the work that was really done, and changes none of it."""

from collections import Counter

import pytest

from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.engine import meter
from nrf_ray.engine.predict import predict
from nrf_ray.stages.weights import new_model
from nrf_ray.training.fit import fit
from nrf_ray.training.recipes import Recipe
from tests.training.test_fit import DIGITS, weights_after

ADVERSARIAL = Recipe(epochs=2, lr=0.05, batch_size=64, adversary=pgd_attack("l2", 1.0, steps=3))


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """All counts while a test runs."""
    counts: Counter[str] = Counter()

    def listener(work: meter.Work, amount: int) -> None:
        counts[work] += amount

    monkeypatch.setattr(meter, "_listener", listener)
    return counts


def test_adversarial_training_counts_images_and_steps(few, heard) -> None:
    fit(new_model("resnet_s", DIGITS, seed=0), few, ADVERSARIAL, seed=0)
    images = 2 * (len(few) // 64) * 64
    assert heard == {"trained": images, "attacked": images, "pgd_steps": 3 * images}


def test_predictions_are_counted(few, heard) -> None:
    predict(new_model("resnet_s", DIGITS, seed=0), few.images)
    assert heard == {"predicted": len(few)}


def test_whoever_listens_changes_no_result(few) -> None:
    silent = weights_after(few, ADVERSARIAL)
    counts: Counter[str] = Counter()
    before = meter._listener
    meter.listen(lambda work, amount: counts.update({work: amount}))
    try:
        assert weights_after(few, ADVERSARIAL) == silent
    finally:
        meter.listen(before)
    assert counts["trained"] > 0
