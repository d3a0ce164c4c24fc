"""Random starts and restarts: whose they are, and that more of them never leave more images right."""

import pytest
import torch

from nrf_ray.attacks.losses import LOSSES, first_loss, margin_of, per_example_margin, ranked
from nrf_ray.attacks.pgd import pgd
from nrf_ray.attacks.restarts import ExampleStarts, RunStarts, run_once, run_restarts
from nrf_ray.attacks.robustness import robust_accuracy
from nrf_ray.attacks.run import run_attack
from nrf_ray.attacks.specs import fgsm_rs, n_fgsm, pgd_attack
from nrf_ray.attacks.threat import NORMS, ThreatModel, perturbation_norm
from nrf_ray.engine.predict import predict
from nrf_ray.engine.twin import twin
from nrf_ray.errors import ConfigError

every_norm = pytest.mark.parametrize("norm", NORMS)
EPS = {"l2": 0.5, "linf": 0.1, "l2_token": 0.2}


@every_norm
def test_a_random_start_belongs_to_its_example_and_restart_alone(digits, norm):
    threat, images = ThreatModel(norm=norm, eps=EPS[norm]), digits[1].images[:8]
    starts = ExampleStarts(seed=1, indices=torch.arange(8))
    drawn, order = starts.draw(threat, images, 0), torch.tensor([5, 2, 7])
    assert torch.equal(starts.of(order).draw(threat, images[order], 0), drawn[order])
    assert perturbation_norm(drawn - images, norm).max() <= EPS[norm] * (1 + 1e-5)
    noise = drawn - images
    for other in (
        starts.draw(threat, images, 1),
        ExampleStarts(seed=2, indices=torch.arange(8)).draw(threat, images, 0),
        ExampleStarts(seed=1, indices=torch.arange(8) + 8).draw(threat, images, 0),
    ):
        assert (perturbation_norm(other - drawn, norm) > 0).all()
    assert (perturbation_norm(noise[1:] - noise[:1], norm) > 0).all()


def test_the_images_found_do_not_depend_on_how_the_data_are_ordered(trained, digits):
    images, labels = digits[1].images[:40], digits[1].labels[:40]
    attack, order = pgd_attack("l2", 0.5, steps=4, restarts=3), torch.randperm(40, generator=torch.Generator())
    found = run_attack(attack, trained, images, labels, seed=3)
    again = run_attack(attack, trained, images[order], labels[order], seed=3, indices=order)
    torch.testing.assert_close(again, found[order], rtol=0, atol=1e-5)


def test_alternating_takes_cross_entropy_the_margin_and_margins_of_the_next_classes_in_turn(trained, digits):
    images, labels = digits[1].images[:16], digits[1].labels[:16]
    starts = ExampleStarts(seed=5, indices=torch.arange(16))
    attack = pgd_attack("l2", 0.5, steps=3, restarts=9, loss="alternating")
    clean = trained(images).detach()
    for restart in range(9):
        loss = LOSSES[("cross_entropy", "margin", "margin")[restart % 3]]
        if restart % 3 == 2:
            order = clean.scatter(1, labels[:, None], -torch.inf).argsort(1, descending=True)
            loss = margin_of(order[:, 1 + restart // 3])
        expected = pgd(
            trained,
            images,
            labels,
            threat=attack.threat,
            steps=3,
            step_size=attack.step_size,
            loss=loss,
            start=starts.draw(attack.threat, images, restart),
        )
        assert torch.equal(run_once(attack, trained, images, labels, starts=starts, restart=restart), expected)


def test_other_classes_are_ranked_without_the_label_and_counted_anew_past_the_last():
    logits = torch.tensor([[3.0, 1.0, 2.0, 0.0], [0.0, 5.0, 5.0, 5.0]])
    labels = torch.tensor([0, 2])
    found = [ranked(logits, labels, rank).tolist() for rank in (1, 2, 3, 4, 5)]
    assert found == [[2, 1], [1, 3], [3, 0], [2, 1], [1, 3]]
    assert margin_of(torch.tensor([1, 0]))(logits, labels).tolist() == [-2.0, -5.0]


def test_the_first_run_optimises_cross_entropy_or_the_loss_that_is_named():
    assert [first_loss(name) for name in ("alternating", "margin", "cross_entropy")] == [
        "cross_entropy", "margin", "cross_entropy"
    ]  # fmt: skip


def test_with_two_classes_the_margin_of_any_rank_is_the_margin():
    logits = torch.randn(9, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(9) % 2
    for rank in (1, 2, 7):
        assert torch.equal(margin_of(ranked(logits, labels, rank))(logits, labels), per_example_margin(logits, labels))


def test_alternating_fools_what_either_loss_fools_from_the_same_starts(trained, digits):
    images, labels = digits[1].images[:128], digits[1].labels[:128]
    starts = ExampleStarts(seed=5, indices=torch.arange(128))
    attack = pgd_attack("l2", 0.6, steps=5, restarts=2, loss="alternating")
    runs = [run_once(attack, trained, images, labels, starts=starts, restart=restart) for restart in range(2)]
    fooled = torch.stack([predict(trained, run) != labels for run in runs]).any(dim=0)
    found = run_restarts(attack, trained, images, labels, starts=starts)
    assert torch.equal(predict(trained, found) != labels, fooled)
    assert 0 < fooled.sum() < 128


def test_alternating_keeps_the_image_of_the_highest_margin_where_no_run_fools(trained, digits):
    images, labels = digits[1].images[:64], digits[1].labels[:64]
    starts = ExampleStarts(seed=5, indices=torch.arange(64))
    attack = pgd_attack("l2", 0.2, steps=3, restarts=3, loss="alternating")
    runs = [run_once(attack, trained, images, labels, starts=starts, restart=restart) for restart in range(3)]
    margins = torch.stack([per_example_margin(trained(run), labels) for run in runs])
    right = (margins <= 0).all(dim=0)
    assert right.sum() > 10
    found = per_example_margin(trained(run_restarts(attack, trained, images, labels, starts=starts)), labels)
    torch.testing.assert_close(found[right], margins.amax(dim=0)[right], rtol=0, atol=1e-4)


@every_norm
def test_an_example_is_robust_only_if_it_withstands_every_restart(trained, digits, norm):
    """Robustness (MadryLab) overwrites every example by its last restart; here the union is exact."""
    attack = pgd_attack(norm, 1.2 * EPS[norm], steps=1, restarts=4)
    images, labels = digits[1].images[:64], digits[1].labels[:64]
    starts = ExampleStarts(seed=0, indices=torch.arange(64))
    each = []
    for restart in range(4):
        found = pgd(
            trained,
            images,
            labels,
            threat=attack.threat,
            steps=1,
            step_size=attack.step_size,
            start=starts.draw(attack.threat, images, restart),
        )
        each.append(predict(trained, found) != labels)
    together = predict(trained, run_restarts(attack, trained, images, labels, starts=starts)) != labels
    assert torch.equal(together, torch.stack(each).any(0))
    assert together.sum() > each[-1].sum(), "all restarts agree: the test shows nothing"


def test_later_restarts_run_only_on_what_is_still_right(trained, digits):
    seen = []
    hook = trained.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    try:
        attack = pgd_attack("l2", 0.7, steps=2, restarts=2)
        images, labels = digits[1].images[:32], digits[1].labels[:32]
        run_restarts(attack, trained, images, labels, starts=ExampleStarts(seed=0, indices=torch.arange(32)))
    finally:
        hook.remove()
    seen = [n for n in seen if n > 2]  # a pair of images shows how to make the twin
    assert seen[:3] == [32, 32, 32]
    assert 0 < seen[3] < 32
    assert seen[3:] == [seen[3]] * 3


def test_more_restarts_never_leave_more_right(trained, digits):
    few = type(digits[1])(images=digits[1].images[:64], labels=digits[1].labels[:64])
    robust = [
        robust_accuracy(trained, few, pgd_attack("l2", 0.5, steps=2, restarts=k, start="uniform")) for k in (1, 5)
    ]
    assert robust[1] <= robust[0] < 1


@pytest.mark.parametrize("targeted", [False, True])
def test_restarts_that_all_fail_keep_the_best_loss(trained, digits, targeted):
    images, labels = digits[1].images[:32], digits[1].labels[:32]
    labels = (labels + 1) % 10 if targeted else labels
    kind = {"steps": 1, "targeted": targeted, "loss": "margin", "start": "uniform"}
    starts = ExampleStarts(seed=0, indices=torch.arange(32))
    gains = []
    for restarts in (1, 4):
        attack = pgd_attack("l2", 0.05, restarts=restarts, **kind)
        found = run_restarts(attack, trained, images, labels, starts=starts)
        with torch.no_grad():
            gains.append((-1 if targeted else 1) * per_example_margin(trained(found), labels))
    same = (gains[0] > 0) != targeted
    assert (gains[1] >= gains[0] - 1e-5)[~same].all()
    assert (gains[1] > gains[0] + 1e-4).any()


def test_margin_is_above_zero_exactly_where_the_label_is_not_predicted():
    logits = torch.tensor([[3.0, 1.0, 2.0], [0.0, 1.0, 4.0]])
    assert per_example_margin(logits, torch.tensor([0, 1])).tolist() == [-1.0, 3.0]


def test_attacks_work_where_gradients_are_switched_off(trained, digits):
    images, labels, attack = digits[1].images[:16], digits[1].labels[:16], pgd_attack("l2", 0.5, steps=3)
    expected = run_once(attack, trained, images, labels)
    with torch.no_grad():
        assert torch.equal(run_once(attack, trained, images, labels), expected)


@every_norm
def test_n_fgsm_starts_in_twice_the_ball_and_only_the_box_bounds_it(linear, norm):
    """De Jorge et al. 2022: x + eta + eps * sign(gradient), |eta| <= 2 eps; Wong et al. 2020 project into the ball."""
    weight = torch.tensor([[1.0, -1.0, 0.5, 0.25], [-1.0, 1.0, -0.5, -0.25]])
    images, labels = torch.full((64, 1, 2, 2), 0.5), torch.zeros(64, dtype=torch.int64)
    threat = ThreatModel(norm=norm, eps=0.1)
    step = threat.ascend((weight[1] - weight[0]).view(1, 1, 2, 2))
    draws = [RunStarts(generator=torch.Generator().manual_seed(0)) for _ in range(4)]
    wide = run_once(n_fgsm(norm, 0.1), linear(weight), images, labels, starts=draws[0])
    noise = draws[1].draw(ThreatModel(norm=norm, eps=0.2), images, 0)
    torch.testing.assert_close(wide, noise + 0.1 * step)
    assert perturbation_norm(wide - images, norm).max() > 0.2
    kept = run_once(fgsm_rs(norm, 0.1), linear(weight), images, labels, starts=draws[2])
    start = draws[3].draw(threat, images, 0)
    torch.testing.assert_close(kept, threat.project(start + 0.125 * step, images))


def test_what_leaves_the_ball_measures_nothing_and_what_is_random_needs_its_starts(trained, digits):
    images, labels = digits[1].images[:4], digits[1].labels[:4]
    with pytest.raises(ConfigError, match="n-fgsm leaves the ball"):
        run_attack(n_fgsm("linf", 0.1), trained, images, labels)
    with pytest.raises(ConfigError, match="starts at random points"):
        run_once(fgsm_rs("linf", 0.1), trained, images, labels)


@every_norm
def test_a_first_run_that_was_made_step_by_step_gives_the_same_images(trained, digits, norm):
    """As the checks make it, which look at the model between the steps."""
    attack = pgd_attack(norm, EPS[norm], steps=4, restarts=3)
    images, labels = digits[1].images[:24], digits[1].labels[:24]
    starts = ExampleStarts(seed=0, indices=torch.arange(24))
    network = twin(trained, images)
    first = starts.draw(attack.threat, images, 0)
    for _ in range(4):
        first = pgd(network, images, labels, threat=attack.threat, steps=1, step_size=attack.step_size, start=first)
    kept = first.clone()
    whole = run_restarts(attack, network, images, labels, starts=starts)
    assert torch.equal(run_restarts(attack, network, images, labels, starts=starts, first=first), whole)
    assert torch.equal(first, kept), "what a caller gives is not written into"
    assert not torch.equal(first, whole), "later runs find more"
