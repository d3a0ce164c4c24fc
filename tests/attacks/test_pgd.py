"""PGD against closed forms on linear networks, and one regression for every bug that was found in a peer's attack."""

import inspect

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nrf_ray.attacks.losses import per_example_cross_entropy
from nrf_ray.attacks.pgd import attack_mode, pgd
from nrf_ray.attacks.restarts import run_once
from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.attacks.threat import NORMS, ThreatModel, perturbation_norm

every_norm = pytest.mark.parametrize("norm", NORMS)
both_goals = pytest.mark.parametrize("targeted", [False, True], ids=["untargeted", "targeted"])
both_returns = pytest.mark.parametrize("returns", ["last", "worst_loss"])
EPS = {"l2": 0.2, "linf": 0.05, "l2_token": 0.1}


def settings_for(norm, eps=None, steps=10, **more):
    eps = EPS[norm] if eps is None else eps
    return {"threat": ThreatModel(norm=norm, eps=eps), "steps": steps, "step_size": 2.5 * eps / steps, **more}


def steepest(weights, norm, shape):
    """Return the direction of size one in which x -> weights x rises fastest; x has `shape`, weights are flat."""
    if norm == "linf":
        return weights.sign()
    rows = weights.view(*weights.shape[:-1], -1, shape[-1] if norm == "l2_token" else weights.shape[-1])
    return (rows / rows.norm(dim=-1, keepdim=True)).view_as(weights)


def dual_norm(weights, norm, shape):
    """Return by how much x -> weights x can rise in the ball, over eps."""
    if norm == "l2_token":
        return weights.view(*weights.shape[:-1], -1, shape[-1]).norm(dim=-1).sum(dim=-1)
    return weights.norm(p={"l2": 2, "linf": 1}[norm], dim=-1)


def start_from(images, norm, seed):
    return ThreatModel(norm=norm, eps=EPS[norm]).random_start(images, torch.Generator().manual_seed(seed))


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@every_norm
@both_goals
@both_returns
def test_two_class_linear_optimum_is_reached(linear, norm, targeted, returns):
    weight = draw(2, 12)
    model = linear(weight, [0.1, -0.2])
    images, labels = 0.5 + 0.1 * torch.tanh(draw(8, 1, 3, 4, seed=1)), torch.arange(8) % 2
    settings = settings_for(norm, targeted=targeted, returns=returns)
    found = pgd(model, images, labels, **settings)
    rise = weight[labels] - weight[1 - labels] if targeted else weight[1 - labels] - weight[labels]
    expected = images + EPS[norm] * steepest(rise, norm, images.shape).view_as(images)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)

    margin = (model(images)[range(8), labels] - model(images)[range(8), 1 - labels]).detach()
    change = EPS[norm] * dual_norm(rise, norm, images.shape)
    loss = F.softplus(-(margin + change)) if targeted else F.softplus(-(margin - change))
    torch.testing.assert_close(per_example_cross_entropy(model(found), labels).detach(), loss, rtol=1e-4, atol=1e-5)


@every_norm
@both_goals
def test_linear_optimum_of_a_loss_of_the_callers_own(linear, norm, targeted):
    """The loss is minus the label's logit: away from the label, or (targeted) towards it."""
    weight = draw(5, 12)
    images, labels = torch.full((5, 1, 3, 4), 0.5), torch.arange(5)
    found = pgd(
        linear(weight),
        images,
        labels,
        loss=lambda logits, y: -logits.gather(1, y.unsqueeze(1)).squeeze(1),
        **settings_for(norm, targeted=targeted),
    )
    sign = 1 if targeted else -1
    expected = images + sign * EPS[norm] * steepest(weight, norm, images.shape).view_as(images)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_linf_optimum_where_the_box_binds(linear):
    weight = draw(2, 12)
    images, labels = torch.rand(8, 1, 3, 4, generator=torch.Generator().manual_seed(0)).round(), torch.arange(8) % 2
    found = pgd(linear(weight), images, labels, **settings_for("linf"))
    rise = (weight[1 - labels] - weight[labels]).view_as(images)
    torch.testing.assert_close(found, (images + EPS["linf"] * rise.sign()).clamp(0, 1), rtol=0, atol=1e-6)


@every_norm
@both_goals
def test_the_step_of_a_targeted_attack_goes_towards_the_target(trained, digits, norm, targeted):
    """Robustness (MadryLab) drops the sign in mixed precision, so its targeted attacks move away."""
    images, labels = digits[1].images[:64], digits[1].labels[:64]
    labels = (labels + 1) % 10 if targeted else labels
    before = per_example_cross_entropy(trained(images), labels)
    found = pgd(trained, images, labels, **settings_for(norm, steps=1, targeted=targeted))
    after = per_example_cross_entropy(trained(found), labels)
    fraction = (after < before if targeted else after > before).float().mean()
    assert fraction > 0.95


@every_norm
@both_returns
@pytest.mark.parametrize("start", [None, 3], ids=["from the image", "random start"])
def test_the_result_of_an_example_does_not_depend_on_its_batch_mates(trained, digits, norm, returns, start):
    """Bit for bit: losses that are averaged over the batch, or shared norms, would show here."""
    images, labels = digits[1].images[:48], digits[1].labels[:48]
    changed, other = images.clone(), labels.clone()
    changed[24:], other[24:] = torch.rand(24, 1, 8, 8, generator=torch.Generator().manual_seed(1)), 0
    found = [
        pgd(
            trained,
            x,
            y,
            returns=returns,
            start=None if start is None else start_from(x, norm, start),
            **settings_for(norm),
        )
        for x, y in ((images, labels), (changed, other))
    ]
    assert torch.equal(found[0][:24], found[1][:24])
    assert not torch.equal(found[0][24:], found[1][24:])


def test_an_example_alone_gives_what_it_gives_in_a_batch(trained, digits):
    images, labels = digits[1].images[:16], digits[1].labels[:16]
    together = pgd(trained, images, labels, **settings_for("l2", 1.0))
    alone = [pgd(trained, images[i : i + 1], labels[i : i + 1], **settings_for("l2", 1.0)) for i in range(16)]
    torch.testing.assert_close(torch.cat(alone), together, rtol=0, atol=1e-6)


@every_norm
@both_goals
def test_worst_loss_is_never_worse_than_last_or_start(trained, digits, norm, targeted):
    images, labels = digits[1].images[:128], digits[1].labels[:128]
    labels = (labels + 3) % 10 if targeted else labels
    sign = -1 if targeted else 1
    settings = settings_for(norm, {"l2": 1.5, "linf": 0.3, "l2_token": 0.5}[norm], steps=3, targeted=targeted)
    settings["step_size"] = settings["threat"].eps
    last, worst = (pgd(trained, images, labels, returns=kind, **settings) for kind in ("last", "worst_loss"))
    with torch.no_grad():
        gains = [sign * per_example_cross_entropy(trained(x), labels) for x in (images, last, worst)]
    assert (gains[2] >= gains[0] - 1e-5).all()
    assert (gains[2] >= gains[1] - 1e-5).all()
    assert (gains[2] > gains[1] + 1e-3).any(), "the two never differ here: the test shows nothing"


class Hill(nn.Module):
    """Two logits of one pixel; the loss of class 0 is highest at 0.5."""

    def forward(self, images):
        """Return the logits."""
        value = images.flatten(1)
        return torch.cat([50 * (value - 0.5) ** 2, torch.zeros_like(value)], dim=1)


def test_worst_loss_includes_the_start_and_last_does_not():
    """From 0.48 one step of 0.3 overshoots the hill, and the last iterate is worse than where it began."""
    image, label = torch.full((1, 1, 1, 1), 0.48), torch.zeros(1, dtype=torch.int64)
    settings = {"threat": ThreatModel(norm="l2", eps=0.3), "steps": 1, "step_size": 0.3}
    assert pgd(Hill(), image, label, **settings).item() == pytest.approx(0.78)
    assert pgd(Hill(), image, label, returns="worst_loss", **settings).item() == pytest.approx(0.48)


def test_the_last_iterate_is_what_comes_back_unless_asked_otherwise(trained, digits):
    """Robustness returns its best iterate by default, which is not the paper's "100 steps"."""
    assert inspect.signature(pgd).parameters["returns"].default == "last"
    attack = pgd_attack("l2", 1.0, steps=5)
    images, labels = digits[1].images[:32], digits[1].labels[:32]
    last = pgd(trained, images, labels, threat=attack.threat, steps=5, step_size=0.5, returns="last")
    assert torch.equal(run_once(attack, trained, images, labels), last)


def test_a_described_targeted_attack_runs_as_one(trained, digits):
    attack = pgd_attack("linf", 0.2, steps=4, targeted=True)
    images, labels = digits[1].images[:32], (digits[1].labels[:32] + 1) % 10
    expected = pgd(trained, images, labels, threat=attack.threat, steps=4, step_size=0.125, targeted=True)
    assert torch.equal(run_once(attack, trained, images, labels), expected)


@every_norm
@both_returns
@both_goals
def test_the_result_is_allowed_and_detached(trained, digits, norm, returns, targeted):
    images, labels = digits[1].images[:64], digits[1].labels[:64]
    original = images.clone()
    for eps in (0.1, 0.9):
        found = pgd(trained, images, labels, returns=returns, **settings_for(norm, eps, targeted=targeted))
        assert perturbation_norm(found - images, norm).max() <= eps * (1 + 1e-5) + 1e-6
        assert found.min() >= 0
        assert found.max() <= 1
        assert not found.requires_grad
        assert found.dtype == images.dtype
    assert torch.equal(images, original), "the attack wrote into its input"


@both_returns
def test_the_result_lies_channels_last_as_documented(returns):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 10))
    images, labels = torch.rand(5, 3, 8, 8), torch.arange(5)
    found = pgd(network, images, labels, returns=returns, **settings_for("l2", 0.5))
    assert images.is_contiguous()
    assert found.is_contiguous(memory_format=torch.channels_last)


@every_norm
def test_a_saturated_network_gives_the_start_and_no_nan(linear, norm):
    """Softmax rounds to exactly one, the gradient to exactly zero; 0 / 0 is NaN in some peers."""
    model = linear(1e4 * torch.eye(2, 4))
    images, labels = torch.tensor([[0.8, 0.1, 0.5, 0.5], [0.1, 0.8, 0.5, 0.5]]).view(2, 1, 2, 2), torch.arange(2)
    tracked = images.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(per_example_cross_entropy(model(tracked), labels).sum(), tracked)
    assert torch.equal(gradient, torch.zeros_like(images)), "not saturated: the test shows nothing"
    for returns in ("last", "worst_loss"):
        assert torch.equal(pgd(model, images, labels, returns=returns, **settings_for(norm)), images)
    start = start_from(images, norm, 5)
    found = pgd(model, images, labels, start=start, **settings_for(norm))
    torch.testing.assert_close(found, start, rtol=0, atol=1e-7)
    assert not torch.equal(found, images)


@every_norm
@pytest.mark.parametrize("scale", [1e-8, 1.0, 45.0], ids=["flat", "usual", "nearly saturated"])
def test_steps_do_not_shrink_with_the_gradient(linear, norm, scale):
    """Torchattacks and robustness add 1e-10 to the norm: nearly saturated examples take shortened steps."""
    weight = torch.tensor([[1.0, -1.0, 0.5, 0.25], [-1.0, 1.0, -0.5, -0.25]])
    images = torch.tensor([0.6, 0.3, 0.5, 0.5]).view(1, 1, 2, 2)
    found = pgd(linear(scale * weight), images, torch.tensor([0]), **settings_for(norm))
    expected = images - EPS[norm] * steepest(weight[0], norm, images.shape).view_as(images)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_random_numbers_are_drawn_only_from_the_given_generator(trained, digits):
    images, labels = digits[1].images[:16], digits[1].labels[:16]
    before = torch.random.get_rng_state()
    plain, again = (pgd(trained, images, labels, **settings_for("l2")) for _ in range(2))
    random, same, other = (
        pgd(trained, images, labels, start=start_from(images, "l2", seed), **settings_for("l2")) for seed in (1, 1, 2)
    )
    assert torch.equal(plain, again)
    assert torch.equal(random, same)
    assert not torch.equal(random, other)
    assert not torch.equal(random, plain)
    assert torch.equal(torch.random.get_rng_state(), before)


class Mixed(nn.Module):
    """A network in a mixed state: parts in training and in eval mode, some parameters frozen; it may raise."""

    def __init__(self, raises: bool) -> None:
        super().__init__()
        self.raises = raises
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(256, 10)
        self.train()
        self.norm.eval()
        self.conv.weight.requires_grad_(False)

    def forward(self, images):
        """Return the logits."""
        assert not any(module.training for module in self.modules()), "attacked outside eval mode"
        assert not any(parameter.requires_grad for parameter in self.parameters()), "attacked with live parameters"
        if self.raises:
            raise RuntimeError("no memory left")
        return self.head(self.drop(self.norm(self.conv(images))).flatten(1))


def state_of(model):
    modules = {name: module.training for name, module in model.named_modules()}
    parameters = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    return modules, parameters


@pytest.mark.parametrize("raises", [False, True], ids=["returns", "raises"])
@both_returns
def test_every_module_and_parameter_gets_its_own_state_back(raises, returns):
    model = Mixed(raises)
    before = state_of(model)
    buffers = {name: value.clone() for name, value in model.state_dict().items()}
    images, labels = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(4)
    if raises:
        with pytest.raises(RuntimeError, match="no memory left"):
            pgd(model, images, labels, returns=returns, **settings_for("l2"))
    else:
        pgd(model, images, labels, returns=returns, **settings_for("l2"))
    assert state_of(model) == before
    assert all(torch.equal(value, buffers[name]) for name, value in model.state_dict().items())


@both_returns
def test_param_grad_is_left_alone(returns):
    """Cleverhans, foolbox and ART add the attack's gradients to it: the next optimizer step would take them."""
    model = Mixed(raises=False)
    kept = torch.full_like(model.head.weight, 7.0)
    model.head.weight.grad = kept
    images, labels = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(4)
    pgd(model, images, labels, returns=returns, **settings_for("l2"))
    assert model.head.weight.grad is kept
    assert torch.equal(kept, torch.full_like(kept, 7.0))
    assert [name for name, p in model.named_parameters() if p.grad is not None] == ["head.weight"]


def test_attack_mode_alone_restores_a_network_in_training():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model[1].eval()
    with attack_mode(model):
        assert state_of(model) == ({"": False, "0": False, "1": False}, dict.fromkeys(state_of(model)[1], False))
    assert [module.training for module in model.modules()] == [True, True, False]
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_per_example_cross_entropy_known_answers():
    logits = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    losses = per_example_cross_entropy(logits, torch.tensor([1, 1]))
    torch.testing.assert_close(losses, torch.tensor([0.6931472, 2.126928]))
    assert per_example_cross_entropy(logits.bfloat16(), torch.tensor([1, 1])).dtype == torch.float32
