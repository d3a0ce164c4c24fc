"""The ladder of trust as a table, and every check on an honest network and on planted frauds that it must catch."""

import math

import pytest
import torch
from torch import nn

from nrf_ray.attacks import checks
from nrf_ray.attacks.checks import run_checks
from nrf_ray.attacks.comparison import beaten
from nrf_ray.attacks.robustness import right_when_clean
from nrf_ray.attacks.specs import AutoAttack, Substitution, pgd_attack
from nrf_ray.attacks.subject import Subject
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.attacks.trust import BY_EFFORT, CHECKS, checks_of, checks_text, read_checks, trust_level
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.stages.weights import new_model
from tests.trust.defence import put, turned

THREAT = ThreatModel(norm="l2", eps=1.0)
STRONG, WEAK = pgd_attack("l2", 1.0, steps=50, restarts=10), pgd_attack("l2", 1.0, steps=20)
ALL = dict.fromkeys(checks_of("full"), "PASS")
ADAPTIVE = dict.fromkeys(CHECKS, "PASS")
ENSEMBLE = {name: verdict for name, verdict in ADAPTIVE.items() if name != "adaptive"}


@pytest.mark.parametrize(
    ("attack", "verdicts", "level"),
    [
        (WEAK, None, "L0"),
        (WEAK, ALL, "L0"),
        (STRONG, None, "L0"),
        (STRONG, ALL, "L1"),
        (STRONG, ALL | {"noise": "WARN"}, "L0"),
        (STRONG, ALL | {"noise": "FAIL"}, "L0"),
        (STRONG, ALL | dict.fromkeys(BY_EFFORT, "WARN"), "L1"),
        (STRONG, ALL | {"more-steps": "FAIL"}, "L0"),
        (STRONG, ALL | {"more-steps": "WARN", "black-box": "WARN"}, "L0"),
        (STRONG, dict.fromkeys(checks_of("required"), "PASS"), "L1"),
        (STRONG, dict.fromkeys(checks_of("cheap"), "PASS"), "L0"),
        (STRONG, {name: "PASS" for name in checks_of("required")[1:]}, "L0"),
        (STRONG, ALL | {"images": "WARN"}, "L0"),
        (pgd_attack("l2", 1.0, steps=49, restarts=10), ALL, "L0"),
        (pgd_attack("l2", 1.0, steps=50, restarts=9), ALL, "L0"),
        (AutoAttack(threat=THREAT, version="apgd"), None, "L0"),
        (AutoAttack(threat=THREAT, version="apgd"), ALL, "L0"),
        (AutoAttack(threat=THREAT, version="apgd"), ENSEMBLE | {"noise": "WARN", "gap": "WARN"}, "L2"),
        (AutoAttack(threat=THREAT, version="apgd"), ENSEMBLE | {"noise": "FAIL"}, "L0"),
        (AutoAttack(threat=THREAT, version="apgd"), ENSEMBLE | {"images": "WARN"}, "L0"),
        (AutoAttack(threat=THREAT, version="few-classes"), ENSEMBLE, "L2"),
        (AutoAttack(threat=THREAT, version="few-classes"), ENSEMBLE | {"slope": "FAIL"}, "L0"),
        (AutoAttack(threat=THREAT), ENSEMBLE, "L3"),
        (AutoAttack(threat=THREAT), ADAPTIVE, "L4"),
        (AutoAttack(threat=THREAT), ADAPTIVE | {"adaptive": "WARN"}, "L3"),
        (AutoAttack(threat=THREAT), ADAPTIVE | {"adaptive": "FAIL"}, "L0"),
        (AutoAttack(threat=THREAT), ADAPTIVE | {"slope": "FAIL"}, "L0"),
        (AutoAttack(threat=THREAT, version="few-classes"), ADAPTIVE, "L2"),
        (AutoAttack(threat=THREAT, version="apgd"), ADAPTIVE, "L2"),
        (STRONG, ADAPTIVE, "L1"),
        (AutoAttack(threat=THREAT), ENSEMBLE | {"surrogate": "FAIL"}, "L0"),
        (Substitution(budget=2), None, "L0"),
    ],
)
def test_the_level_follows_from_the_attack_and_its_checks(attack, verdicts, level):
    assert trust_level(attack, checks_text(verdicts or {})) == level


def test_verdicts_are_read_as_they_were_written():
    verdicts = ALL | {"large-eps": "FAIL"}
    assert read_checks(checks_text(verdicts)) == verdicts
    assert read_checks("") == {}


class Wrapped(nn.Module):
    """A network behind a planted fraud."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model


class Steep(Wrapped):
    """Logits times a million: softmax saturates and its gradient is exactly zero."""

    def forward(self, images):
        return self.model(images) * 1e6


class Stepped(Wrapped):
    """Pixels rounded to five levels: no gradient anywhere, though noise still moves the input."""

    def forward(self, images):
        return self.model((images * 4).round() / 4)


class Softmax(Wrapped):
    """Probabilities in place of logits."""

    def forward(self, images):
        return self.model(images).softmax(1)


class Random(Wrapped):
    """Noise on the input, other noise at every pass."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, images):
        return self.model((images + 0.2 * torch.randn(images.shape, generator=self.generator)).clamp(0, 1))


class Misleading(Wrapped):
    """Gradients that point away from every adversarial image."""

    def forward(self, images):
        return self.model(turned(torch.neg)(images))


class Grafted(Wrapped):
    """Answers of the network, and gradients of another one, which are those of a network and lead elsewhere."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.other = new_model("resnet_s", dataset_named("digits").ref, seed=5)

    def forward(self, images):
        return put(self.model(images), self.other(images))


class Shattered(Wrapped):
    """A fast sine on the input, which turns the gradient everywhere."""

    def forward(self, images):
        return self.model(images + 0.02 * torch.sin(1000 * images))


class CutOff(Wrapped):
    """No gradient for one image in eight, by content."""

    def forward(self, images):
        cut = (images.flatten(1).sum(dim=1) * 1000).long() % 8 == 0
        return self.model(torch.where(cut.view(-1, 1, 1, 1), images.detach(), images))


class Broken(Wrapped):
    """Gradients that are not numbers, by the derivative of a root at zero."""

    def forward(self, images):
        return self.model(images + 0 * images.sum() + (images * 0).sqrt())


def checked(model, clean_model, digits, attack, n=40, battery="cheap", *, curves=False):
    test = digits[1]
    right = right_when_clean(clean_model, test)[:n]
    subject = Subject(
        model=model,
        images=test.images[right],
        labels=test.labels[right],
        indices=right,
        attack=attack,
        seed=0,
        curves=curves,
    )
    return run_checks(subject, battery)


@pytest.fixture(scope="module")
def regression(linear, digits):
    """Return a linear network fitted to digits by least squares: PGD finds its optimum."""
    pixels = digits[0].images.flatten(1).double()
    goal = 10 * nn.functional.one_hot(digits[0].labels, 10).double()
    ridge = pixels.T @ pixels + torch.eye(64, dtype=torch.float64)
    return linear(torch.linalg.solve(ridge, pixels.T @ goal).T.float())


@pytest.mark.parametrize(("which", "norm", "eps"), [("trained", "l2", 0.4), ("regression", "linf", 0.05)])
def test_an_honest_network_passes_every_check(which, norm, eps, digits, request):
    model = request.getfixturevalue(which)
    found = checked(model, model, digits, pgd_attack(norm, eps, steps=20, restarts=2), battery="full")
    assert list(found) == checks_of("full")
    assert {name: check.verdict for name, check in found.items()} == ALL | {"images": "WARN"}, found
    assert 0.1 < found["images"].numbers["fooled"] < 0.9, (
        "the attack does nothing, or everything: the checks show nothing"
    )


@pytest.mark.parametrize(
    ("fraud", "caught_by"),
    [
        (Steep, {"gradients", "loss-rises", "large-eps"}),
        (Stepped, {"gradients", "loss-rises", "noise", "large-eps"}),
        (Softmax, {"logits"}),
        (Random, {"repeatable"}),
        (Misleading, {"slope", "loss-rises", "noise", "large-eps", "black-box", "surrogate", "binarization"}),
        (Grafted, {"slope", "black-box", "transfer", "surrogate"}),
        (Shattered, {"slope"}),
        (CutOff, {"gradients"}),
        (Broken, {"gradients"}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_planted_fraud_fails_the_checks_that_are_there_for_it(trained, digits, fraud, caught_by):
    battery = "cheap" if caught_by <= {*checks_of("cheap")} else "full"
    found = checked(fraud(trained), trained, digits, pgd_attack("l2", 1.0, steps=7), battery=battery)
    assert caught_by <= {name for name, check in found.items() if check.verdict == "FAIL"}, found


@pytest.mark.parametrize(
    ("only_other", "n", "more_effort", "verdict"),
    [
        (0, 100, False, "PASS"),
        (1, 100, False, "PASS"),
        (2, 100, False, "WARN"),
        (3, 100, False, "WARN"),  # .079 by the binomial distribution
        (4, 100, False, "FAIL"),  # .018
        (4, 100, True, "WARN"),
        (5, 100, True, "FAIL"),
        (10, 1000, False, "PASS"),
        (15, 1000, False, "WARN"),
        (16, 1000, False, "FAIL"),
        (1, 5, False, "PASS"),
        (2, 5, False, "FAIL"),
        (2, 40, False, "WARN"),
    ],
)
def test_the_test_on_images_that_another_attack_alone_fools_is_exact(only_other, n, more_effort, verdict):
    p = 1 - sum(math.comb(n, k) * 0.01**k * 0.99 ** (n - k) for k in range(only_other))
    assert (p < 0.05 and only_other > max(1, 0.01 * n)) == (verdict == "FAIL" or more_effort)
    assert beaten(only_other, n, more_effort=more_effort) == verdict


def test_images_of_another_model_are_tried_instead_of_a_surrogates(trained, digits):
    """The other model is the one behind the fraud: its images fool at once what its own gradients do not."""
    right = right_when_clean(trained, digits[1])[:40]
    subject = Subject(
        model=Stepped(trained),
        images=digits[1].images[right],
        labels=digits[1].labels[right],
        indices=right,
        attack=pgd_attack("l2", 1.0, steps=7),
        seed=0,
        others=(trained,),
    )
    found = run_checks(subject, "required")
    assert list(found) == checks_of("required")
    assert found["transfer"].verdict == "FAIL"
    assert found["transfer"].numbers["only_other"] > 0.5


@pytest.mark.parametrize("spoil", ["nan", "box", "ball"])
def test_images_that_break_the_rules_are_seen_whatever_found_them(spoil, trained, digits, monkeypatch):
    """An independent look: the attack is replaced by one that breaks its promise."""

    def broken(network, images, labels, **more):
        return {"nan": images * torch.nan, "box": images - 0.5, "ball": 1 - images}[spoil]

    monkeypatch.setattr(checks, "pgd", broken)
    assert checked(trained, trained, digits, pgd_attack("l2", 1.0, steps=1))["inside"].verdict == "FAIL"


def failed(trained, digits, attack):
    return {name for name, check in checked(trained, trained, digits, attack).items() if check.verdict == "FAIL"}


def test_too_few_and_too_short_steps_fail(trained, digits):
    """An attack that has not arrived: twice its steps fool many more."""
    attack = pgd_attack("l2", 1.0, steps=5)
    timid = type(attack)(threat=attack.threat, steps=2, step_size=0.15)
    assert {"more-steps", "one-step"} <= failed(trained, digits, timid)


def test_robust_accuracy_that_rises_with_the_radius_fails(trained, digits):
    """Beyond a distance from its image this network is right again: attacks pass what fools it and end behind it."""

    class Guarded(Wrapped):
        def forward(self, images):
            distance, nearest = torch.cdist(images.flatten(1), self.clean.flatten(1)).min(dim=1, keepdim=True)
            remembered = 10 * nn.functional.one_hot(self.labels[nearest.squeeze(1)], 10)
            return torch.where(distance > 1.2, remembered, self.model(images))

    right = right_when_clean(trained, digits[1])[:40]
    guarded = Guarded(trained)
    guarded.clean, guarded.labels = digits[1].images[right], digits[1].labels[right]
    found = checked(guarded, trained, digits, pgd_attack("l2", 1.5, steps=10))
    assert {found[name].verdict for name in ("monotone", "large-eps", "last-iterate")} == {"FAIL"}


def test_checks_without_a_single_right_image_warn(trained, digits):
    found = checked(trained, trained, digits, WEAK, n=0)
    assert {check.verdict for check in found.values()} == {"WARN"}


def test_curves_are_what_the_checks_saw_and_change_no_verdict(trained, digits):
    attack = pgd_attack("l2", 0.4, steps=10, restarts=2)
    plain = checked(trained, trained, digits, attack, n=30, battery="required")
    found = checked(trained, trained, digits, attack, n=30, battery="required", curves=True)
    for name, check in found.items():
        assert (check.verdict, check.numbers) == (plain[name].verdict, plain[name].numbers), name
    assert plain["large-eps"].curves == ()
    curves = {(name, curve.quantity, curve.over): curve for name, check in found.items() for curve in check.curves}
    for quantity in ("accuracy", "margin", "cross-entropy"):
        assert [x for x, _ in curves["loss-rises", quantity, "step"].points] == list(range(11))
    steps = dict(curves["loss-rises", "accuracy", "step"].points)
    radii = dict(curves["large-eps", "accuracy", "radius"].points)
    assert list(radii) == pytest.approx([0, 0.2, 0.4, 0.8, math.sqrt(0.8 * 4), 4])
    assert radii[0.0] == 1
    assert radii[0.4] == steps[10]
    assert list(radii.values()) == sorted(radii.values(), reverse=True)
    queries = dict(curves["black-box", "accuracy", "query"].points)
    assert list(queries) == list(range(0, checks.QUERIES + 1, checks.QUERIES_APART))
    assert queries[0] == pytest.approx(1 - found["images"].numbers["fooled"])
    only_other = found["black-box"].numbers["only_other"]
    assert queries[checks.QUERIES] == pytest.approx(queries[0] - only_other)


def test_random_search_beats_a_reversed_gradient_query_by_query(trained, digits):
    found = checked(Misleading(trained), trained, digits, pgd_attack("l2", 1.0, steps=7), battery="required")
    (curve,) = found["black-box"].curves
    accuracies = [accuracy for _, accuracy in curve.points]
    assert accuracies == sorted(accuracies, reverse=True)
    assert accuracies[0] - accuracies[-1] == pytest.approx(found["black-box"].numbers["only_other"])
    assert accuracies[0] - accuracies[-1] > 0.3
    margins = [margin for _, margin in found["loss-rises"].curves[1].points]
    assert margins[-1] < margins[0], "the attack ends further from fooling the model than it began"


def test_means_that_are_no_numbers_are_in_no_curve():
    values = ((x, torch.tensor([value, 1.0])) for x, value in enumerate((1.0, math.nan, math.inf, 3.0)))
    assert checks._curve("margin", "step", values).points == ((0, 1.0), (3, 2.0))
