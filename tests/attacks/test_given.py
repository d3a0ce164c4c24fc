"""Arguments of an attack: what is not images, labels and logits is refused; what is not finite never leaves it."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nrf_ray.attacks.checks import run_checks
from nrf_ray.attacks.pgd import pgd
from nrf_ray.attacks.restarts import run_once
from nrf_ray.attacks.robustness import robust_accuracy
from nrf_ray.attacks.run import run_attack
from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.attacks.subject import Subject
from nrf_ray.attacks.threat import ThreatModel, perturbation_norm
from nrf_ray.constructions.targeted_pgd import craft_adversarial
from nrf_ray.data.images import LabelledImages, as_float
from nrf_ray.engine.predict import predict
from nrf_ray.errors import ConfigError

THREAT = ThreatModel(norm="l2", eps=0.5)
L2, LINF = pgd_attack("l2", 0.5, steps=5), pgd_attack("linf", 0.1, steps=5)


class Network(nn.Module):
    """A linear model whose output `change` changes."""

    def __init__(self, change=lambda logits, images: logits, classes: int = 10) -> None:
        super().__init__()
        self.linear = nn.Linear(64, classes)
        self.norm = nn.BatchNorm1d(classes)
        self.change = change
        with torch.no_grad():
            self.linear.weight.copy_(torch.randn(classes, 64, generator=torch.Generator().manual_seed(0)))

    def forward(self, images):
        return self.change(self.norm(self.linear(images.flatten(1))), images)


class BrokenGradient(torch.autograd.Function):
    """The identity, whose gradient `value` replaces from pixel `first` on."""

    @staticmethod
    def forward(ctx, images, value, first):
        ctx.value, ctx.first = value, first
        return images.clone()

    @staticmethod
    def backward(ctx, gradient):
        broken = gradient.flatten(1).clone()
        broken[:, ctx.first :] = ctx.value
        return broken.view_as(gradient), None, None


class Broken(Network):
    """A network whose gradient is broken."""

    def __init__(self, value: float, first: int) -> None:
        super().__init__()
        self.value, self.first = value, first

    def forward(self, images):
        return super().forward(BrokenGradient.apply(images, self.value, self.first))


def pictures(n: int = 12) -> torch.Tensor:
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))


LABELS = torch.arange(12) % 10


@pytest.mark.parametrize("attack", [L2, LINF], ids=lambda attack: attack.threat.norm)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("first", [0, 32], ids=["all", "half"])
def test_what_leaves_an_attack_is_finite_and_inside_whatever_the_gradient_is(attack, value, first):
    images = pictures()
    found = run_once(attack, Broken(value, first), images, LABELS)
    assert bool(found.isfinite().all())
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert float(perturbation_norm(found - images, attack.threat.norm).max()) <= attack.threat.eps + 1e-5
    if value != value and first == 32:
        moved = (found != images).flatten(1)
        assert not moved[:, 32:].any(), "pixels without a gradient do not move"
        assert moved[:, :32].any(dim=1).all(), "the others do: the attack goes on"


def test_a_constructed_set_of_a_broken_model_is_no_black_picture():
    made = craft_adversarial(Broken(float("nan"), 0), pictures(), LABELS, pgd_attack("l2", 0.5, steps=3, targeted=True))
    assert torch.equal(made.images, (pictures() * 255).round().to(torch.uint8))
    assert float(made.norm.max()) < 0.02, "rounding alone"


def test_nan_is_no_class():
    silent = Network(lambda logits, images: logits * float("nan"))
    assert predict(silent, pictures()).tolist() == [-1] * 12
    zeros = LabelledImages(images=pictures(), labels=torch.zeros(12, dtype=torch.long))
    assert robust_accuracy(silent, zeros, L2) == 0.0
    partly = Network(lambda logits, images: torch.where(images[:, :1, 0, 0] > 0.5, torch.nan, logits))
    honest = predict(Network(), pictures())
    expected = torch.where(pictures()[:, 0, 0, 0] > 0.5, -1, honest)
    assert torch.equal(predict(partly, pictures()), expected)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            pictures() * 4 - 2,
            r"between -1\.\d+ and 1\.\d+; .* \[0, 1\], so undo the normalisation",
        ),
        (pictures() * 255, "between .* and 25"),
        (torch.full((12, 1, 8, 8), torch.nan), "between nan and nan"),
        ((pictures() * 255).to(torch.uint8), "not torch.uint8; divide them by 255"),
    ],
    ids=["normalised", "levels", "nan", "uint8"],
)
def test_images_that_are_none_are_refused(images, message):
    with pytest.raises(ConfigError, match=message):
        pgd(Network(), images, LABELS, threat=THREAT, steps=2, step_size=0.1)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Network(lambda logits, images: (logits, images)), "the Network returns a tuple; .* wrap it"),
        (Network(lambda logits, images: {"logits": logits}), "returns a dict"),
        (Network(classes=1), r"returns torch.float32 of shape \(12, 1\) for 12 images; .* at least two classes"),
        (Network(lambda logits, images: logits[:, 0]), r"of shape \(12,\)"),
        (Network(lambda logits, images: logits[:1]), r"of shape \(1, 10\) for 12 images"),
        (Network(lambda logits, images: logits.argmax(1, keepdim=True).repeat(1, 3)), "returns torch.int64"),
        (Network().double(), "parameters of the Network are torch.float64, and images are torch.float32; call .float"),
    ],
    ids=["tuple", "dict", "one", "flat", "first", "integers", "double"],
)
def test_models_that_return_no_logits_are_refused_in_one_line(model, message):
    for call in (
        lambda: pgd(model, pictures(), LABELS % 2, threat=THREAT, steps=2, step_size=0.1),
        lambda: run_attack(L2, model, pictures(), LABELS % 2),
    ):
        with pytest.raises(ConfigError, match=message) as error:
            call()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.full((12,), 10), "between 10 and 10, and the model has 10 classes, 0 to 9"),
        (torch.where(torch.arange(12) == 3, -100, LABELS), "between -100 and 9"),
        (LABELS[:11], r"shape \(11,\) for 12 images"),
        (torch.eye(10)[LABELS], r"labels of torch.float32 and shape \(12, 10\)"),
    ],
    ids=["eleventh", "ignored", "few", "one-hot"],
)
def test_labels_without_a_class_are_refused(labels, message):
    with pytest.raises(ConfigError, match=message):
        pgd(Network(), pictures(), labels, threat=THREAT, steps=2, step_size=0.1)


@pytest.mark.parametrize(
    ("step_size", "message"),
    [
        ([0.1], "step_size has 1 lengths for 2 steps"),
        ([0.1, 0.1, 0.1], "step_size has 3 lengths for 2 steps"),
        ([0.1, -0.1], "a step has the length -0.1"),
        (0.0, "a step has the length 0"),
        (float("nan"), "a step has the length nan"),
        (float("inf"), "a step has the length inf"),
    ],
    ids=str,
)
def test_lengths_of_steps_are_checked(step_size, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        pgd(Network(), pictures(), LABELS, threat=THREAT, steps=2, step_size=step_size)


@given(st.sampled_from([True, False]), st.sampled_from([True, False]))
def test_a_model_is_left_in_the_mode_that_it_was_in(whole, norm):
    model = Network()
    model.train(whole)
    model.norm.train(norm)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images, labels = pictures(), predict(model, pictures())
    robust_accuracy(model, LabelledImages(images=images, labels=labels), L2)
    subject = Subject(model=model, images=as_float(images), labels=labels, indices=torch.arange(12), attack=L2, seed=0)
    run_checks(subject)
    assert (model.training, model.norm.training, model.linear.training) == (whole, norm, whole)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_model_without_any_gradient_is_refused_in_one_line(digits):
    """Regression: torch's own RuntimeError came out."""

    class Told(nn.Module):
        def forward(self, images):
            return nn.functional.one_hot((images.flatten(1).sum(dim=1) * 7).long() % 10, 10).float()

    images, labels = digits[1].images[:4], digits[1].labels[:4]
    with pytest.raises(ConfigError, match="the outputs of the Told have no gradient with respect to its images"):
        run_once(pgd_attack("l2", 0.5, steps=2), Told(), images, labels)


@pytest.mark.parametrize(
    ("start", "returns", "words"),
    [
        (torch.full((4, 1, 8, 8), torch.nan), "last", "a pixel that is not finite"),
        (torch.zeros(3, 1, 8, 8), "last", r"shape \(4, 1, 8, 8\); these have the shape \(3, 1, 8, 8\)"),
        (torch.full((4, 1, 8, 8), 5.0), "worst_loss", r"must begin in \[0, 1\] and within l2 0.5"),
        (torch.ones(4, 1, 8, 8), "worst_loss", "within l2 0.5"),
    ],
)
def test_a_start_that_could_not_be_returned_is_refused(start, returns, words):
    """Regression: the result was NaN, or outside ball and box."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    with pytest.raises(ConfigError, match=words):
        pgd(
            model,
            torch.zeros(4, 1, 8, 8),
            torch.zeros(4, dtype=torch.long),
            threat=ThreatModel(norm="l2", eps=0.5),
            steps=1,
            step_size=0.1,
            start=start,
            returns=returns,
        )
