"""Representation matching: known optima, which ReLU lets the gradient pass, where starts come from, what is written."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nrf_ray.attacks.threat import l2_norm
from nrf_ray.constructions.matching import (
    Matching,
    craft_matched,
    draw_starts,
    grey_noise,
    match_representation,
    relative_distance,
    residual,
)
from nrf_ray.data.images import as_float, as_uint8
from nrf_ray.engine.representation import Representation
from nrf_ray.models.classifier import Classifier
from nrf_ray.models.zoo import build

SHAPE = (1, 8, 8)
QUICK = Matching(steps=20, step_size=0.1, decay=True)


def classifier(body, width):
    return Classifier(body, width=width, num_classes=3, mean=[0.0], std=[1.0]).eval()


def pictures(n=6, seed=0):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def linear_body():
    """A representation of 5 fixed orthonormal projections: its matches are known in closed form."""
    rows = torch.linalg.qr(torch.randn(64, 5, generator=torch.Generator().manual_seed(1)))[0].T
    layer = nn.Linear(64, 5, bias=False)
    layer.weight = nn.Parameter(rows.clone())
    return classifier(nn.Sequential(nn.Flatten(), layer), 5), rows


def test_a_linear_representation_is_matched_by_the_nearest_image(linear_body):
    """Inside the box the gradient path goes straight to the projection of the start onto {z: W z = W x}."""
    model, rows = linear_body
    images, starts = 0.5 + 0.1 * (pictures() - 0.5), 0.5 + 0.1 * (pictures(seed=2) - 0.5)
    matched = match_representation(model, images, starts, Matching(steps=400, step_size=0.01, decay=True))
    nearest = starts + ((images - starts).flatten(1) @ rows.T @ rows).view_as(images)
    assert (nearest.min() > 0) & (nearest.max() < 1), "the box must not bind here"
    torch.testing.assert_close(matched, nearest, atol=1e-3, rtol=0)
    assert residual(model, matched, images).max() < 1e-3


def test_matches_stay_in_the_box_and_in_no_other_ball(trained):
    images, starts = pictures(), pictures(seed=2)
    matched = match_representation(trained, images, starts, Matching(steps=50, step_size=0.5))
    assert 0 <= matched.min() <= matched.max() <= 1
    assert l2_norm(matched - starts).min() > 0.5
    assert not matched.requires_grad


@pytest.mark.parametrize("steps", [1, 7])
def test_without_the_box_every_step_has_its_length(linear_body, steps):
    model, _ = linear_body
    starts = torch.full((4, *SHAPE), 0.5)
    one = match_representation(model, pictures(4), starts, Matching(steps=steps, step_size=1e-3))
    assert l2_norm(one - starts).max() <= steps * 1e-3 + 1e-6
    if steps == 1:
        torch.testing.assert_close(l2_norm(one - starts), torch.full((4,), 1e-3), rtol=1e-3, atol=0)


def test_lengths_fall_linearly_where_asked():
    assert Matching(steps=4, step_size=0.2).lengths() == [0.2] * 4
    assert Matching(steps=4, step_size=0.2, decay=True).lengths() == pytest.approx([0.2, 0.15, 0.1, 0.05])


class Functional(nn.Module):
    """Calls ReLU as a function, in place, as some networks do."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(64, 8), nn.Linear(8, 4)

    def forward(self, images):
        hidden = F.relu(self.first(images.flatten(1)), inplace=True)
        return F.relu(self.second(hidden), inplace=True)


def as_modules():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(inplace=True), nn.Linear(8, 4), nn.ReLU())


@pytest.mark.parametrize("body", [Functional, as_modules], ids=["functions", "modules"])
def test_only_the_last_relu_lets_the_gradient_through(body):
    torch.manual_seed(0)
    model = classifier(body(), 4)
    layers = [module for module in model.body.modules() if isinstance(module, nn.Linear)]
    represent = Representation(model)
    images = pictures().requires_grad_(True)
    values = represent(images)
    torch.testing.assert_close(values, model.representation(images))
    (gradient,) = torch.autograd.grad(values.sum(), images)
    on = (layers[0](images.flatten(1)) > 0).float()
    expected = (layers[1].weight.sum(0) * on) @ layers[0].weight
    torch.testing.assert_close(gradient.flatten(1), expected)
    (plain,) = torch.autograd.grad(model.representation(images).sum(), images)
    assert not torch.allclose(plain, gradient), "some unit must be off, or the test shows nothing"


class Branches(nn.Module):
    """Ends as an Inception block does: branches side by side, one of them with a ReLU before its last two."""

    def __init__(self, call):
        super().__init__()
        self.call = call
        self.stem, self.one, self.two = nn.Linear(64, 8), nn.Linear(8, 3), nn.Linear(8, 6)
        self.left, self.right = nn.Linear(6, 2), nn.Linear(6, 2)

    def forward(self, images):
        hidden = self.call(self.stem(images.flatten(1)))
        inner = self.call(self.two(hidden))
        return torch.cat([self.call(last) for last in (self.one(hidden), self.left(inner), self.right(inner))], dim=1)


def in_place(values):
    values.relu_()
    return values


@pytest.mark.parametrize(
    "call",
    [F.relu, torch.relu, Tensor.relu, in_place, torch.relu_, lambda x: F.relu(x, True), lambda x: F.relu(input=x)],
    ids=["F", "torch", "method", "method in place", "torch in place", "positional", "named"],
)
def test_every_branch_of_the_last_block_lets_the_gradient_through(call):
    torch.manual_seed(0)
    body = Branches(call)
    model = classifier(body, 7)
    images = pictures().requires_grad_(True)
    values = Representation(model)(images)
    assert torch.equal(values, model.representation(images))
    (gradient,) = torch.autograd.grad(values.sum(), images)
    with torch.no_grad():
        hidden = body.stem(images.flatten(1))
        inner = body.two(hidden.relu())
        of_inner = ((body.left.weight.sum(0) + body.right.weight.sum(0)) * (inner > 0)) @ body.two.weight
        expected = ((of_inner + body.one.weight.sum(0)) * (hidden > 0)) @ body.stem.weight
    torch.testing.assert_close(gradient.flatten(1), expected)
    assert (values == 0).any(dim=0).sum() > 3, "units of every branch must be off, or the test shows nothing"


@pytest.mark.parametrize(
    ("arch", "shape", "last", "relus"),
    [
        ("resnet_m", SHAPE, 1, 13),
        ("densenet_s", SHAPE, 1, 9),
        ("vgg_s", SHAPE, 1, 6),
        ("resnet_b", SHAPE, 1, 7),
        ("inception_s", SHAPE, 4, 22),
        ("inception_v3", (3, 32, 32), 6, 94),
        ("resnet50", (3, 32, 32), 1, 49),
    ],
)
def test_the_last_relus_of_our_networks(arch, shape, last, relus):
    """An Inception-v3 of torchvision ends in four branches, two of which end in two ReLUs each."""
    normalisation = [0.5] * shape[0]
    model = build(arch, shape=shape, num_classes=3, mean=normalisation, std=normalisation, seed=0).eval()
    represent, images = Representation(model), torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(represent(images), model.representation(images))
    assert len(represent.last) == last
    assert max(represent.last) == relus - 1, "the last call is among them"


def test_of_relus_along_a_shortcut_only_the_last_is_replaced():
    """In a pre-activation network every ReLU reaches the end by shortcuts; all but one feed another ReLU."""

    class Shortcuts(nn.Module):
        def forward(self, images):
            values = images.flatten(1) - 0.5
            for _ in range(3):
                values = values + F.relu(values)
            return values

    represent = Representation(classifier(Shortcuts(), 64))
    represent(pictures())
    assert represent.last == {2}


def test_a_relu_of_constants_does_no_harm():
    class Constants(nn.Module):
        def forward(self, images):
            return images.flatten(1) * F.relu(torch.ones(64))

    images = pictures().requires_grad_(True)
    (gradient,) = torch.autograd.grad(Representation(classifier(Constants(), 64))(images).sum(), images)
    assert torch.equal(gradient, torch.ones_like(images))


def test_a_unit_that_is_off_can_be_switched_on():
    """Without the identity gradient a start whose units are all off would never move."""
    layer = nn.Linear(64, 1)
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.bias.fill_(-32.0)
    model = classifier(nn.Sequential(nn.Flatten(), layer, nn.ReLU()), 1)
    images, starts = torch.full((2, *SHAPE), 0.9), torch.full((2, *SHAPE), 0.1)
    matched = match_representation(model, images, starts, Matching(steps=200, step_size=0.05))
    assert residual(model, starts, images).tolist() == [1.0, 1.0]
    assert residual(model, matched, images).max() < 0.05


def test_a_network_without_relu_is_left_alone(linear_body):
    model, rows = linear_body
    images = pictures().requires_grad_(True)
    (gradient,) = torch.autograd.grad(Representation(model)(images).sum(), images)
    torch.testing.assert_close(gradient[0].flatten(), rows.sum(0))


def test_a_match_does_not_depend_on_its_batch_mates(trained):
    images, starts = pictures(8), pictures(8, seed=2)
    together = match_representation(trained, images, starts, QUICK)
    alone = torch.cat([match_representation(trained, images[i : i + 1], starts[i : i + 1], QUICK) for i in range(8)])
    torch.testing.assert_close(together, alone, atol=1e-3, rtol=0)


def test_the_source_is_left_as_it_was(trained):
    trained = copy.deepcopy(trained)
    trained.zero_grad(set_to_none=True)
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    trainable = [parameter.requires_grad for parameter in trained.parameters()]
    trained.train()
    match_representation(trained, pictures(), pictures(seed=2), QUICK)
    assert trained.training
    trained.eval()
    assert all(torch.equal(before[name], tensor) for name, tensor in trained.state_dict().items())
    assert all(parameter.grad is None for parameter in trained.parameters())
    assert [parameter.requires_grad for parameter in trained.parameters()] == trainable


def test_starts_are_other_images_drawn_from_the_seed():
    starts = draw_starts(5000, 3)
    assert torch.equal(starts, draw_starts(5000, 3))
    assert not torch.equal(starts, draw_starts(5000, 4))
    assert (starts != torch.arange(5000)).all()
    assert 0 <= starts.min() <= starts.max() < 5000
    assert draw_starts(2, 0).tolist() == [1, 0]


def test_noise_depends_on_seed_and_index_alone():
    noise = grey_noise(range(300), SHAPE, 0)
    assert torch.equal(grey_noise([7], SHAPE, 0)[0], noise[7])
    assert not torch.equal(grey_noise([7], SHAPE, 1)[0], noise[7])
    assert noise.mean() == pytest.approx(0.5, abs=0.002)
    assert noise.std() == pytest.approx(1 / 20, rel=0.03)


def test_relative_distance_known_values():
    wanted = torch.tensor([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]])
    found = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]])
    assert relative_distance(found, wanted)[:2].tolist() == [0.0, 1.0]
    assert relative_distance(found, wanted).isfinite().all()


@pytest.mark.parametrize("storage", ["uint8", "float32"])
def test_what_is_written_of_a_match_is_true(trained, digits, storage):
    images, starts = digits[0].images[:64], digits[0].images[64:128]
    crafted = craft_matched(trained, images, starts, QUICK, storage)
    found = match_representation(trained, images, starts, QUICK)
    assert torch.equal(crafted.images, as_uint8(found) if storage == "uint8" else found)
    stored = as_float(crafted.images)
    torch.testing.assert_close(crafted.norm, l2_norm(stored - starts))
    torch.testing.assert_close(crafted.distance, l2_norm(stored - images))
    torch.testing.assert_close(crafted.loss, residual(trained, stored, images))
    assert crafted.loss.mean() < residual(trained, starts, images).mean()
    with torch.no_grad():
        assert torch.equal(crafted.prediction, trained(found).argmax(1))
        assert torch.equal(crafted.prediction_stored, trained(stored).argmax(1))
    assert crafted.moved.all()
