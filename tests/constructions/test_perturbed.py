"""Perturbations that hold other models to the true label, and permutations within groups: known answers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.constructions.perturbed import Beside, disentangled, perturb, shuffled_within
from nrf_ray.engine.predict import predict
from tests.networks import Linear

# Each looks at one half of a 1 x 2 image: the brighter half of the images says 1.
LEFT = Linear(torch.tensor([[-9.0, 0.0], [9.0, 0.0]]), [4.5, -4.5])
RIGHT = Linear(torch.tensor([[0.0, -9.0], [0.0, 9.0]]), [4.5, -4.5])
BOTH = Linear(torch.tensor([[-9.0, -9.0], [9.0, 9.0]]), [9.0, -9.0])
IMAGES = torch.tensor([[0.2, 0.2], [0.8, 0.8], [0.3, 0.25]]).view(3, 1, 1, 2)
TRUE = torch.tensor([0, 1, 0])
ATTACK = pgd_attack("linf", 0.45, steps=20, targeted=True)


def test_networks_beside_each_other_keep_their_order():
    logits = Beside([LEFT, RIGHT])(IMAGES)
    assert logits.shape == (3, 2, 2)
    assert torch.equal(logits[:, 0], LEFT(IMAGES))
    assert torch.equal(logits[:, 1], RIGHT(IMAGES))


def test_the_loss_is_the_first_networks_towards_the_target_plus_the_mean_of_the_others_towards_the_truth():
    even, sure = [0.0, 0.0], [0.0, math.log(3.0)]
    logits = torch.tensor([[sure, even, sure]])
    loss = disentangled(torch.tensor([1]))
    expected = -math.log(3 / 4) + (math.log(2) - math.log(3 / 4)) / 2
    assert loss(logits, torch.tensor([1])).tolist() == pytest.approx([expected])
    assert loss(logits, torch.tensor([0])).tolist() == pytest.approx([expected + math.log(3)])


def test_only_held_models_keep_the_true_class():
    """A model of both halves is fooled through the half that the held model does not see."""
    targets = 1 - TRUE
    moved = perturb(BOTH, [], IMAGES, targets, TRUE, ATTACK)
    apart = perturb(BOTH, [RIGHT], IMAGES, targets, TRUE, pgd_attack("linf", 0.7, steps=20, targeted=True))
    assert torch.equal(predict(BOTH, moved), targets)
    assert torch.equal(predict(RIGHT, moved), targets), "a shared feature transfers"
    assert torch.equal(predict(BOTH, apart), targets)
    assert torch.equal(predict(RIGHT, apart), TRUE)
    assert (moved - IMAGES).abs().max() <= 0.45 + 1e-6


def test_the_place_of_an_image_does_not_change_how_it_is_moved():
    together = perturb(BOTH, [RIGHT], IMAGES, 1 - TRUE, TRUE, ATTACK)
    alone = [perturb(BOTH, [RIGHT], IMAGES[[i]], 1 - TRUE[[i]], TRUE[[i]], ATTACK) for i in range(3)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-6)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(0, 2**40))
def test_a_permutation_within_groups_moves_each_index_within_its_group(groups, seed):
    groups = torch.tensor(groups)
    found = shuffled_within(groups, seed)
    assert torch.equal(found.sort().values, torch.arange(len(groups)))
    assert torch.equal(groups[found], groups)
    assert torch.equal(found, shuffled_within(groups, seed))


def test_a_permutation_leaves_one_in_a_group_in_place_on_average():
    groups = torch.arange(10).repeat(30)
    kept = [int((shuffled_within(groups, seed) == torch.arange(300)).sum()) for seed in range(200)]
    assert sum(kept) / 200 == pytest.approx(10, abs=1), "10 groups; the standard error is .22"
