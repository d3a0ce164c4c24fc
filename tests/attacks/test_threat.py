"""Threat models: projection, steepest ascent and random starts, as properties that hold for every norm and radius."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from nrf_ray.attacks.threat import NORMS, ThreatModel, l2_norm, linf_norm, perturbation_norm
from nrf_ray.errors import ConfigError

PROPERTY = settings(max_examples=50, deadline=None)
SHAPES = st.sampled_from([(1, 8, 8), (3, 4, 5), (1, 1, 1)])
SEEDS = st.integers(0, 2**31)
EPS = st.floats(1e-3, 1.0)
every_norm = pytest.mark.parametrize("norm", NORMS)


def rand(shape, seed):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def case(shape, seed, reach=4.0):
    """Return originals in the box, and images up to `reach` away from them in every pixel."""
    originals = rand((6, *shape), seed)
    return originals, originals + reach * (2 * rand((6, *shape), seed + 1) - 1)


def allowed_size(threat, shape):
    """Return eps with what float32 rounding may add in pixels of [0, 1]."""
    pixels = math.sqrt(math.prod(shape)) if threat.norm == "l2" else 1.0
    return threat.eps * (1 + 1e-5) + 6e-8 * pixels


@every_norm
@PROPERTY
@given(SHAPES, SEEDS, EPS)
def test_projection_lands_in_ball_and_box(norm, shape, seed, eps):
    threat = ThreatModel(norm=norm, eps=eps)
    originals, images = case(shape, seed)
    projected = threat.project(images, originals)
    assert perturbation_norm(projected - originals, norm).max() <= allowed_size(threat, shape)
    assert projected.min() >= 0
    assert projected.max() <= 1


@every_norm
@PROPERTY
@given(SHAPES, SEEDS, EPS)
def test_projection_is_idempotent(norm, shape, seed, eps):
    threat = ThreatModel(norm=norm, eps=eps)
    originals, images = case(shape, seed)
    once = threat.project(images, originals)
    torch.testing.assert_close(threat.project(once, originals), once, rtol=0, atol=2e-7)


@every_norm
@PROPERTY
@given(SHAPES, SEEDS, EPS)
def test_projection_leaves_what_is_inside(norm, shape, seed, eps):
    threat = ThreatModel(norm=norm, eps=eps)
    originals, images = case(shape, seed)
    inside = threat.project(originals + 0.5 * (threat.project(images, originals) - originals), originals)
    direct = originals + 0.5 * (threat.project(images, originals) - originals)
    torch.testing.assert_close(inside, direct, rtol=0, atol=2e-7)


@every_norm
@PROPERTY
@given(SHAPES, SEEDS, EPS)
def test_projection_moves_every_pixel_towards_its_original_and_not_past_it(norm, shape, seed, eps):
    originals, images = case(shape, seed)
    projected = ThreatModel(norm=norm, eps=eps).project(images, originals)
    low, high = torch.minimum(images, originals), torch.maximum(images, originals)
    assert (projected >= low - 1e-6).all()
    assert (projected <= high + 1e-6).all()


@every_norm
@PROPERTY
@given(SHAPES, SEEDS, EPS)
def test_no_allowed_point_is_nearer_in_l2_where_the_projection_is_exact(norm, shape, seed, eps):
    """Exact for linf always (a clip to an interval a pixel), for l2 where the box does not bind after the ball."""
    threat = ThreatModel(norm=norm, eps=eps)
    originals, images = case(shape, seed, reach=1.0)
    if norm == "l2":
        originals = 0.5 + originals * 0  # so far from the box that eps <= 0.4 cannot reach it
        threat = ThreatModel(norm=norm, eps=0.4 * eps)
    projected = threat.project(images, originals)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(20):
        other = threat.random_start(originals, generator)
        assert (l2_norm(images - projected) <= l2_norm(images - other) + 1e-5).all()


@every_norm
@pytest.mark.parametrize("eps", [0.05, 0.5])
def test_projection_of_a_far_image_uses_the_whole_radius(norm, eps):
    originals = torch.full((4, 1, 8, 8), 0.5)
    images = originals + 100 * torch.randn(originals.shape, generator=torch.Generator().manual_seed(0))
    sizes = perturbation_norm(ThreatModel(norm=norm, eps=eps).project(images, originals) - originals, norm)
    torch.testing.assert_close(sizes, torch.full((4,), eps), rtol=1e-5, atol=0)


def test_projection_known_answers():
    originals = torch.tensor([0.5, 0.5]).view(1, 1, 1, 2)
    images = torch.tensor([0.8, 0.9]).view(1, 1, 1, 2)
    l2 = ThreatModel(norm="l2", eps=0.25).project(images, originals)
    linf = ThreatModel(norm="linf", eps=0.35).project(images, originals)
    torch.testing.assert_close(l2.flatten(), torch.tensor([0.65, 0.70]))
    torch.testing.assert_close(linf.flatten(), torch.tensor([0.80, 0.85]))


@every_norm
def test_zero_gradient_gives_zero_step(norm):
    step = ThreatModel(norm=norm, eps=0.5).ascend(torch.zeros(3, 1, 8, 8))
    assert torch.equal(step, torch.zeros(3, 1, 8, 8))


@every_norm
def test_a_zero_gradient_beside_others_stays_zero(norm):
    gradient = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    gradient[1] = 0
    step = ThreatModel(norm=norm, eps=0.5).ascend(gradient)
    assert torch.equal(step[1], torch.zeros(1, 8, 8))
    assert perturbation_norm(step[::2], norm).min() > 0.99


@every_norm
@PROPERTY
@given(SHAPES, SEEDS, st.integers(-30, 30))
def test_steps_have_length_one_at_every_scale_of_the_gradient(norm, shape, seed, exponent):
    """Peers divide by ||g|| + 1e-10, or average the loss: their steps shrink with saturation and with batch size."""
    gradient = torch.randn((6, *shape), generator=torch.Generator().manual_seed(seed)).clamp(-3, 3)
    threat = ThreatModel(norm=norm, eps=0.5)
    step = threat.ascend(gradient * 10.0**exponent)
    torch.testing.assert_close(perturbation_norm(step, norm), torch.ones(6), rtol=1e-5, atol=0)
    torch.testing.assert_close(step, threat.ascend(gradient), rtol=1e-5, atol=1e-6)


@every_norm
@PROPERTY
@given(SHAPES, SEEDS)
def test_no_other_step_of_length_one_ascends_faster(norm, shape, seed):
    generator = torch.Generator().manual_seed(seed)
    gradient = torch.randn((6, *shape), generator=generator)
    gain = (gradient * ThreatModel(norm=norm, eps=0.5).ascend(gradient)).flatten(1).sum(1)
    for _ in range(20):
        other = torch.randn(gradient.shape, generator=generator)
        other = other / perturbation_norm(other, norm).view(-1, 1, 1, 1)
        assert (gain >= (gradient * other).flatten(1).sum(1) - 1e-4).all()


@every_norm
@PROPERTY
@given(SHAPES, SEEDS, EPS)
def test_random_starts_are_allowed(norm, shape, seed, eps):
    threat = ThreatModel(norm=norm, eps=eps)
    originals = rand((6, *shape), seed)
    start = threat.random_start(originals, torch.Generator().manual_seed(seed))
    assert perturbation_norm(start - originals, norm).max() <= allowed_size(threat, shape)
    assert start.min() >= 0
    assert start.max() <= 1


@every_norm
def test_random_starts_depend_on_their_generator_alone(norm):
    threat, originals = ThreatModel(norm=norm, eps=0.3), rand((8, 1, 8, 8), 0)
    before = torch.random.get_rng_state()
    first, again, other = (threat.random_start(originals, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_l2_random_starts_are_uniform_in_the_ball_and_not_on_its_sphere():
    """The radius to the power d of a uniform point of a d-ball is uniform. Peers draw from four other distributions."""
    originals = torch.full((2000, 1, 4, 4), 0.5)
    start = ThreatModel(norm="l2", eps=0.3).random_start(originals, torch.Generator().manual_seed(0))
    share = (l2_norm(start - originals).double() / 0.3) ** 16
    assert kstest(share.numpy(), "uniform").pvalue > 0.01
    assert (start - originals).mean(0).abs().max() < 0.3 / 4 * 5 / math.sqrt(2000)


def test_linf_random_starts_are_uniform_in_every_pixel():
    originals = torch.full((500, 1, 2, 2), 0.5)
    start = ThreatModel(norm="linf", eps=0.1).random_start(originals, torch.Generator().manual_seed(0))
    assert kstest(((start - originals) / 0.2 + 0.5).flatten().double().numpy(), "uniform").pvalue > 0.01


def test_norms_known_answers():
    delta = torch.tensor([[3.0, -4.0], [0.0, 0.0]]).view(2, 1, 1, 2)
    assert l2_norm(delta).tolist() == [5.0, 0.0]
    assert linf_norm(delta).tolist() == [4.0, 0.0]
    assert torch.equal(perturbation_norm(delta, "l2"), l2_norm(delta))
    assert torch.equal(perturbation_norm(delta, "linf"), linf_norm(delta))


@every_norm
@pytest.mark.parametrize("eps", [0.0, -0.5, math.nan, math.inf, -math.inf])
def test_a_radius_that_is_no_positive_number_is_refused_in_one_line(norm, eps):
    with pytest.raises(ConfigError, match="epsilon must be a finite number above 0") as error:
        ThreatModel(norm=norm, eps=eps)
    assert "\n" not in str(error.value)


def test_an_unknown_norm_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"unknown norm 'l1'; known norms: l2, linf") as error:
        ThreatModel(norm="l1", eps=0.5)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("norm", "shape", "largest"),
    [("l2", (1, 8, 8), 8.0), ("linf", (1, 8, 8), 1.0), ("l2", (3, 32, 32), math.sqrt(3072)), ("linf", (3, 32, 32), 1)],
    ids=["l2-digits", "linf-digits", "l2-cifar", "linf-cifar"],
)
def test_a_ball_that_holds_the_whole_box_is_refused(norm, shape, largest):
    ThreatModel(norm=norm, eps=largest).check_fits(shape)
    with pytest.raises(ConfigError, match="beyond the box") as error:
        ThreatModel(norm=norm, eps=largest * 1.001).check_fits(shape)
    assert "\n" not in str(error.value)


def test_an_integer_radius_is_the_same_threat_model():
    assert ThreatModel(norm="l2", eps=1) == ThreatModel(norm="l2", eps=1.0)
    assert isinstance(ThreatModel(norm="l2", eps=1).eps, float)


@every_norm
def test_an_image_is_held_if_it_is_finite_in_the_box_and_in_the_ball(norm):
    """Each image differs from its original, which is black, in one pixel."""
    threat, furthest = ThreatModel(norm=norm, eps=0.5), 0.5 * (1 + 1e-4)
    pixels = [0.0, 0.5, furthest, furthest + 1e-6, 0.5002, 1.0, -1e-6, math.nan, math.inf]
    originals = torch.zeros((len(pixels), 1, 3, 3), dtype=torch.float64)
    images = originals.clone()
    images[:, 0, 0, 0] = torch.tensor(pixels, dtype=torch.float64)
    assert threat.holds(images, originals).tolist() == [True] * 3 + [False] * 6


def test_an_image_outside_the_box_is_not_held_by_a_large_ball():
    threat = ThreatModel(norm="linf", eps=2.0)
    images = torch.tensor([0.0, 1.0, 1.001, -0.001]).view(4, 1, 1, 1).expand(4, 1, 2, 2)
    assert threat.holds(images, torch.full_like(images, 0.5)).tolist() == [True, True, False, False]
