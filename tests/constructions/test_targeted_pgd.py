"""Constructed sets: how targets are drawn, how far images move, and what is written down of each."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from nrf_ray.attacks.restarts import run_once
from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.attacks.threat import NORMS, perturbation_norm
from nrf_ray.constructions.crafted import draw_targets
from nrf_ray.constructions.targeted_pgd import craft_adversarial
from nrf_ray.data.images import as_float, as_uint8
from nrf_ray.errors import ConfigError
from nrf_ray.seeding import derive_seed
from tests.constructions.rounded import cycle, rounding

RULES = ("same", "uniform", "next", "other")
every_norm = pytest.mark.parametrize("norm", NORMS)
every_rule = pytest.mark.parametrize("rule", RULES)


@every_rule
@settings(max_examples=50, deadline=None)
@given(st.integers(2, 20), st.integers(1, 300), st.integers(0, 2**40))
def test_targets_are_classes_by_their_rule(rule, k, n, seed):
    labels = cycle(n, k)
    targets = draw_targets(rule, labels, k, seed)
    assert targets.dtype == torch.int64
    assert targets.shape == labels.shape
    assert 0 <= targets.min() <= targets.max() < k
    if rule == "next":
        assert torch.equal(targets, (labels + 1) % k)
    if rule == "other":
        assert (targets != labels).all()
    if rule == "same":
        assert torch.equal(targets, labels)


@every_rule
def test_targets_depend_on_seed_row_and_label_alone(rule):
    labels = cycle(1000)
    state = torch.random.get_rng_state()
    targets = draw_targets(rule, labels, 10, 5)
    assert torch.equal(draw_targets(rule, labels, 10, 5), targets)
    assert torch.equal(draw_targets(rule, labels[:137], 10, 5), targets[:137]), "a longer set has the same first rows"
    changed = labels.clone()
    changed[500] = (changed[500] + 4) % 10
    kept = torch.arange(1000) != 500
    assert torch.equal(draw_targets(rule, changed, 10, 5)[kept], targets[kept])
    assert torch.equal(torch.random.get_rng_state(), state)
    if rule in ("uniform", "other"):
        assert not torch.equal(draw_targets(rule, labels, 10, 6), targets)


def test_uniform_targets_are_uniform_for_every_label():
    labels = cycle(20_000)
    targets = draw_targets("uniform", labels, 10, 0)
    table = torch.bincount(labels * 10 + targets, minlength=100).numpy()
    assert chisquare(table).pvalue > 0.01
    assert 0.09 < (targets == labels).double().mean() < 0.11


def test_other_targets_are_uniform_over_the_other_classes():
    labels = cycle(18_000)
    table = torch.bincount(labels * 10 + draw_targets("other", labels, 10, 0), minlength=100).view(10, 10)
    assert table.diagonal().sum() == 0
    assert chisquare(table[~torch.eye(10, dtype=torch.bool)].numpy()).pvalue > 0.01


@every_norm
@pytest.mark.parametrize("eps", [0.02, 0.2, 0.9])
def test_crafted_images_stay_within_eps_and_rounding(trained, digits, norm, eps):
    images = digits[0].images[:128]
    crafted = craft_adversarial(trained, images, cycle(128), pgd_attack(norm, eps, steps=5, targeted=True))
    sizes = perturbation_norm(as_float(crafted.images) - images, norm)
    assert sizes.max() <= eps + rounding(norm)
    torch.testing.assert_close(crafted.norm, sizes)


def test_what_is_written_of_crafted_images_is_true(trained, digits):
    images, targets = digits[0].images[:128], cycle(128)
    attack = pgd_attack("l2", 1.5, steps=5, targeted=True)
    crafted = craft_adversarial(trained, images, targets, attack)
    found = run_once(attack, trained, images, targets)
    with torch.no_grad():
        logits = trained(as_float(crafted.images))
        before = trained(found).argmax(1)
    assert crafted.images.dtype == torch.uint8
    assert torch.equal(crafted.images, as_uint8(found))
    assert torch.equal(crafted.moved, (crafted.images != as_uint8(images)).flatten(1).any(1))
    assert torch.equal(crafted.prediction_stored, logits.argmax(1))
    assert torch.equal(crafted.prediction, before)
    torch.testing.assert_close(crafted.loss, F.cross_entropy(logits, targets, reduction="none"))
    clean = F.cross_entropy(trained(images), targets, reduction="none")
    assert (crafted.loss < clean).float().mean() > 0.95, "moved towards the target"
    assert (crafted.prediction_stored == targets).float().mean() > 0.5
    assert not any(column.requires_grad for column in crafted)


def test_images_at_eight_bits_are_crafted_like_their_floats(trained, digits):
    stored = as_uint8(digits[0].images[:32])
    attack = pgd_attack("l2", 1.0, steps=3, targeted=True)
    left, right = (craft_adversarial(trained, x, cycle(32), attack) for x in (stored, as_float(stored)))
    assert all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def test_a_zero_gradient_leaves_an_image_unmoved_and_says_so(linear):
    images = torch.rand(4, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    crafted = craft_adversarial(
        linear(torch.zeros(10, 4)), images, cycle(4), pgd_attack("l2", 0.5, steps=3, targeted=True)
    )
    assert not crafted.moved.any()
    assert torch.equal(crafted.images, as_uint8(images))
    assert crafted.norm.max() <= rounding("l2", 4), "the stored image is the original rounded"


def test_an_untargeted_attack_cannot_construct(trained, digits):
    with pytest.raises(AssertionError, match="targeted"):
        craft_adversarial(trained, digits[0].images[:4], cycle(4), pgd_attack("l2", 0.5))


def test_a_rule_of_one_s_own_draws_targets_from_labels_classes_and_a_seed():
    labels = torch.arange(12) % 3

    def rule(given, num_classes, generator):
        drawn = torch.randint(num_classes, given.shape, generator=generator)
        given.zero_()  # what a rule does to its labels changes nothing
        return drawn

    targets = draw_targets(rule, labels, 3, 5)
    assert torch.equal(
        targets, torch.randint(3, (12,), generator=torch.Generator().manual_seed(derive_seed(5, "targets")))
    )
    assert torch.equal(labels, torch.arange(12) % 3)
    assert torch.equal(draw_targets(lambda given, k, generator: (given + 1) % k, labels, 3, 5), (labels + 1) % 3)
    assert len(draw_targets(lambda given, k, generator: given, labels[:0], 3, 5)) == 0


@pytest.mark.parametrize(
    ("drawn", "said"),
    [
        ([0, 1, 2], "the rule for targets returned list; it must return torch.int64 of shape (3,)"),
        (
            torch.zeros(2, dtype=torch.int64),
            "returned torch.int64 of shape (2,); it must return torch.int64 of shape (3,)",
        ),
        (torch.zeros(3), "returned torch.float32 of shape (3,); it must return torch.int64 of shape (3,)"),
        (torch.tensor([0, 1, 3]), "returned classes from 0 to 3; there are 3, 0 to 2"),
        (torch.tensor([-1, 1, 2]), "returned classes from -1 to 2; there are 3, 0 to 2"),
    ],
)
def test_what_is_no_class_for_every_label_is_refused(drawn, said):
    with pytest.raises(ConfigError) as told:
        draw_targets(lambda labels, num_classes, generator: drawn, torch.arange(3), 3, 5)
    assert said in str(told.value)
