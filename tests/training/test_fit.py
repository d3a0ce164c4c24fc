"""Training: one seed gives one set of weights, whatever ran before; adversarial training is the same loop.

The golden curve (tests/golden/curve.json) pins what two epochs of resnet_s on 192 digits look like. It is compared to
1e-4 relative and not bit for bit: convolution kernels differ between CPUs, and so does the rounding of every sum. The
training is short and its learning rate low because rounding grows with every step: this curve moves by 1e-6 between
kernels (oneDNN or none, AVX2, two threads), two epochs on all digits at the usual rate by 1e-3. A change of any number
of the recipe moves it by more than 1e-4. Where such a change is meant, write the file again from what this prints:

    python -m pytest tests/training/test_fit.py -k golden
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nrf_ray.attacks.restarts import run_once
from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.images import LabelledImages, as_uint8
from nrf_ray.engine.precision import has_bfloat16
from nrf_ray.errors import ConfigError
from nrf_ray.models.zoo import build
from nrf_ray.stages.weights import new_model
from nrf_ray.training.fit import fit, learning_rate
from nrf_ray.training.recipes import Augmentation, LinearSchedule, Recipe, StepSchedule

DIGITS = dataset_named("digits").ref
GOLDEN = Path(__file__).parents[1] / "golden" / "curve.json"
SHORT = Recipe(epochs=2, lr=0.05, batch_size=64, augmentation=Augmentation(pad=1))
ADVERSARIAL = Recipe(epochs=1, lr=0.05, batch_size=64, adversary=pgd_attack("l2", 1.0, steps=2))
needs_bfloat16 = pytest.mark.skipif(not has_bfloat16("cpu"), reason="this CPU has no bfloat16")


def weights_after(data, recipe=SHORT, *, seed=0, weights=0, arch="resnet_s", **more):
    """Return the weights of a new network after training, as bytes."""
    model = new_model(arch, DIGITS, seed=weights)
    fit(model, data, recipe, seed=seed, **more)
    return b"".join(tensor.contiguous().numpy().tobytes() for tensor in model.state_dict().values())


@pytest.mark.parametrize(
    ("warmup", "step", "expected"),
    [
        (0.15, 0, 1 / 16),
        (0.15, 14, 15 / 16),
        (0.15, 15, 1.0),
        (0.15, 16, 84 / 85),
        (0.15, 99, 1 / 85),
        (0.0, 0, 1.0),
        (0.0, 50, 0.5),
        (0.0, 99, 0.01),
    ],
)
def test_learning_rate_known_values(warmup, step, expected):
    recipe = Recipe(epochs=1, lr=2.0, schedule=LinearSchedule(warmup=warmup))
    assert learning_rate(recipe, step, 100) == pytest.approx(2.0 * expected)


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 0.99), st.integers(1, 500))
def test_learning_rate_rises_to_its_peak_and_falls_and_is_never_zero(warmup, steps):
    recipe = Recipe(epochs=1, lr=0.1, schedule=LinearSchedule(warmup=warmup))
    rates = [learning_rate(recipe, step, steps) for step in range(steps)]
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert min(rates) > 0
    assert max(rates) <= 0.1 * (1 + 1e-12)


@pytest.mark.parametrize(("epoch", "expected"), [(0, 1.0), (49, 1.0), (50, 0.1), (99, 0.1), (100, 0.01), (149, 0.01)])
def test_the_papers_schedule_drops_to_a_tenth_after_every_fifty_epochs(epoch, expected):
    recipe = Recipe(epochs=150, lr=0.1, schedule=StepSchedule(drop_every=50))
    for step in (epoch * 391, epoch * 391 + 390):
        assert learning_rate(recipe, step, 150 * 391) == pytest.approx(0.1 * expected)
    assert learning_rate(Recipe(epochs=150, lr=0.1, schedule=StepSchedule()), epoch * 391, 150 * 391) == 0.1


@pytest.mark.parametrize("stop", [1, 2])
@pytest.mark.parametrize("arch", ["resnet_s", "dropout"])
def test_a_training_that_goes_on_from_a_snapshot_ends_with_the_same_bits(few, stop, arch):
    """Order, views, dropout, BatchNorm and momentum all count."""
    recipe = Recipe(epochs=3, lr=0.05, batch_size=64, augmentation=Augmentation(pad=1, flip=True))

    def new():
        model = new_model("resnet_s", DIGITS, seed=0)
        if arch == "dropout":
            model.body = torch.nn.Sequential(model.body, torch.nn.Dropout(0.3))
        return model

    kept = {}
    whole, resumed = new(), new()
    curve = fit(whole, few, recipe, seed=3, on_epoch=lambda epoch, snapshot: kept.update({epoch.epoch: snapshot()}))
    torch.rand(5)
    assert fit(resumed, few, recipe, seed=3, resume=kept[stop]) == curve
    left, right = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert fit(new(), few, recipe, seed=4)[-1] != curve[-1], "another seed differs: the test can fail"


def test_the_same_seed_gives_the_same_bytes_whatever_ran_before(few):
    first = weights_after(few)
    weights_after(few, arch="vgg_s", seed=7, weights=7)
    torch.rand(13)
    assert weights_after(few) == first


@pytest.mark.parametrize("change", [{"seed": 1}, {"weights": 1}], ids=["order and views", "initial weights"])
def test_another_seed_gives_other_weights(few, change):
    assert weights_after(few, **change) != weights_after(few)


@pytest.mark.parametrize("recipe", [SHORT, ADVERSARIAL], ids=["standard", "adversarial"])
def test_the_process_wide_random_state_is_left_alone(few, recipe):
    before = torch.random.get_rng_state()
    weights_after(few, recipe)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_images_at_eight_bits_train_as_their_floats_do(few):
    stored = LabelledImages(images=as_uint8(few.images), labels=few.labels)
    floats = LabelledImages(images=stored.floats(), labels=few.labels)
    assert weights_after(stored) == weights_after(floats)


def test_a_set_that_stays_on_disk_trains_as_one_in_memory_does(few, monkeypatch):
    coloured = LabelledImages(images=as_uint8(few.images).expand(-1, 3, -1, -1).contiguous(), labels=few.labels)

    def weights():
        model = build("resnet_s", shape=(3, 8, 8), num_classes=10, mean=(0.5,) * 3, std=(0.5,) * 3, seed=0)
        fit(model, coloured, SHORT, seed=0)
        return model.head.weight

    in_memory = weights()
    monkeypatch.setattr("nrf_ray.data.batches.RESIDENT_BYTES", 0)
    assert torch.equal(weights(), in_memory)


@needs_bfloat16
@pytest.mark.parametrize("recipe", [SHORT, ADVERSARIAL], ids=["standard", "adversarial"])
def test_fast_training_gives_other_bits_the_same_every_time_and_weights_in_float32(few, recipe):
    fast = replace(recipe, mode="fast")
    assert weights_after(few, fast) == weights_after(few, fast) != weights_after(few, recipe)
    model = new_model("resnet_s", DIGITS, seed=0)
    (*_, last) = fit(model, few, fast, seed=0)
    (*_, faithful) = fit(new_model("resnet_s", DIGITS, seed=0), few, recipe, seed=0)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert last.loss == pytest.approx(faithful.loss, rel=0.05), "a hundredth of bfloat16's precision, some steps on"


@needs_bfloat16
def test_a_fast_training_that_goes_on_from_a_snapshot_ends_with_the_same_bits(few):
    recipe, kept = replace(SHORT, epochs=3, mode="fast"), {}
    whole = weights_after(few, recipe, on_epoch=lambda epoch, snapshot: kept.update({epoch.epoch: snapshot()}))
    assert weights_after(few, recipe, resume=kept[1]) == whole


def test_fast_training_is_refused_where_bfloat16_would_be_emulated(few, monkeypatch):
    monkeypatch.setattr("nrf_ray.engine.precision.has_bfloat16", lambda kind: False)
    with pytest.raises(ConfigError, match=r"bfloat16, which this cpu device does not have .* use mode 'faithful'"):
        weights_after(few, replace(SHORT, mode="fast"))
    assert weights_after(few)


def test_an_attack_inside_training_leaves_no_trace_but_its_images(few):
    """Peers that call backward in the attack add its gradients to the step, or move BatchNorm's running means."""

    def attack_for_nothing(model, images, labels):
        run_once(pgd_attack("l2", 1.0, steps=2), model, images, labels)
        return images

    assert weights_after(few, perturb=attack_for_nothing) == weights_after(few)


def test_an_adversary_in_the_recipe_is_the_same_as_its_attack_as_perturb(few):
    plain = Recipe(epochs=1, lr=0.05, batch_size=64)
    perturb = lambda model, images, labels: run_once(ADVERSARIAL.adversary, model, images, labels)  # noqa: E731
    assert weights_after(few, ADVERSARIAL) == weights_after(few, plain, perturb=perturb)
    assert weights_after(few, ADVERSARIAL) != weights_after(few, plain)


def test_the_network_is_attacked_in_eval_mode_and_trained_in_train_mode(few):
    model = new_model("resnet_s", DIGITS, seed=0)
    modes = []
    model.register_forward_hook(lambda module, inputs, output: modes.append((len(output), module.training)))
    fit(model, few, ADVERSARIAL, seed=0)
    assert [training for n, training in modes if n > 2] == [False, False, True] * 3
    assert not model.training, "a fitted network is ready to be used"


def test_perturb_gets_every_whole_batch_with_the_network_in_train_mode(few):
    seen = []

    def perturb(model, images, labels):
        seen.append((model.training, len(images), len(labels)))
        return images

    data = LabelledImages(images=few.images[:150], labels=few.labels[:150])
    fit(new_model("vgg_s", DIGITS, seed=0), data, SHORT, seed=0, perturb=perturb)
    assert seen == [(True, 64, 64)] * 4, "150 images are two whole batches an epoch"


def test_every_example_is_seen_once_an_epoch_in_a_new_order(few):
    seen = []

    def perturb(model, images, labels):
        seen.append(images[:, 0].flatten(1))
        return images

    fit(new_model("vgg_s", DIGITS, seed=0), few, Recipe(epochs=2, lr=0.01, batch_size=64), seed=0, perturb=perturb)
    epochs = torch.cat(seen[:3]), torch.cat(seen[3:])
    assert not torch.equal(*epochs)
    originals = sorted(map(tuple, few.images.flatten(1).tolist()))
    assert all(sorted(map(tuple, epoch.tolist())) == originals for epoch in epochs)


def test_the_curve_is_returned_and_reported_epoch_by_epoch(few):
    reported = []
    model = new_model("resnet_s", DIGITS, seed=0)
    curve = fit(model, few, SHORT, seed=0, on_epoch=lambda epoch, snapshot: reported.append(epoch))
    assert reported == curve
    assert [epoch.epoch for epoch in curve] == [1, 2]
    assert curve[1].loss < curve[0].loss
    assert all(0 <= epoch.accuracy <= 1 for epoch in curve)


def test_the_loss_and_accuracy_of_the_curve_are_means_over_the_epoch(few, linear):
    """A learning rate next to zero leaves the network as it is, so the curve is what the network shows on the data."""
    model = linear(torch.randn(10, 64, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():
        logits = model(few.images)
        loss = torch.nn.functional.cross_entropy(logits, few.labels).item()
    (epoch,) = fit(model, few, Recipe(epochs=1, lr=1e-12, batch_size=64), seed=0)
    assert epoch.loss == pytest.approx(loss, rel=1e-5)
    assert epoch.accuracy == pytest.approx((logits.argmax(1) == few.labels).double().mean().item())


def test_a_training_that_diverges_says_so_with_advice(few):
    with pytest.raises(FloatingPointError, match=r"diverged.*lower the learning rate \(1e\+12\)") as error:
        weights_after(few, Recipe(epochs=3, lr=1e12, batch_size=64))
    assert "\n" not in str(error.value)


def test_a_set_smaller_than_one_batch_is_refused(few):
    with pytest.raises(ConfigError, match="192 training images are fewer than one batch of 193"):
        weights_after(few, Recipe(epochs=1, lr=0.1, batch_size=193))
    assert weights_after(few, Recipe(epochs=1, lr=0.1, batch_size=192))


def test_the_golden_curve(few):
    golden = json.loads(GOLDEN.read_text())
    recipe = Recipe(epochs=2, lr=0.01, batch_size=64, weight_decay=0.05, augmentation=Augmentation(flip=True))
    curve = fit(new_model("resnet_s", DIGITS, seed=0), few, recipe, seed=0)
    print(json.dumps({"loss": [epoch.loss for epoch in curve], "accuracy": [epoch.accuracy for epoch in curve]}))
    assert [epoch.loss for epoch in curve] == pytest.approx(golden["loss"], rel=1e-4)
    assert [epoch.accuracy for epoch in curve] == pytest.approx(golden["accuracy"], abs=1.5 / 192)
