"""The Gaussian model against what is known of it: brute force, Monte Carlo, descent, and the theorems' own claims."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from nrf_ray import gaussian
from nrf_ray.errors import ConfigError
from nrf_ray.gaussian import Gaussian

FIGURE_4 = Gaussian(mean=np.array([10.0, -1.0]), covariance=np.diag([25.0, 0.5]))
DIMENSIONS, SEEDS = st.integers(1, 50), st.integers(0, 2**31)
CONDITIONS, RADII = st.floats(1.0, 1e4), st.floats(1e-3, 20.0)


def circle(n):
    angles = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def quadratic(covariance, v):
    return np.einsum("nd,nd->n", v @ np.linalg.inv(covariance), v)


# What the model itself says


def test_the_standard_mle_finds_the_model_and_no_other_model_is_more_likely():
    truth = gaussian.random_gaussian(4, seed=1)
    x, y = gaussian.sample(truth, 20_000, seed=2)
    found = gaussian.standard_mle(x, y)
    assert abs(found.mean - truth.mean).max() < 5 * math.sqrt(50 / 20_000)
    assert abs(found.covariance - truth.covariance).max() < 5 * 50 * math.sqrt(2 / 20_000)
    best = gaussian.loss(found, x, y).mean()
    rng = np.random.default_rng(3)
    for _ in range(20):
        turn = rng.standard_normal((4, 4)) * 0.01
        other = Gaussian(mean=found.mean + turn[0], covariance=found.covariance + turn @ turn.T)
        assert gaussian.loss(other, x, y).mean() > best


def test_figure_4_read_off_the_paper():
    assert gaussian.boundary_slope(FIGURE_4) == pytest.approx(0.2)
    one, ten = (gaussian.robust_mle(FIGURE_4, eps) for eps in (1.0, 10.0))
    assert gaussian.boundary_slope(one) == pytest.approx(0.983, abs=5e-4)
    assert gaussian.boundary_slope(ten) == pytest.approx(5.997, abs=5e-4)
    conditions = [gaussian.condition_number(model.covariance) for model in (FIGURE_4, one, ten)]
    assert conditions[0] == pytest.approx(50.0)
    assert conditions == sorted(conditions, reverse=True)


def test_exact_accuracy_is_what_samples_show():
    x, y = gaussian.sample(FIGURE_4, 200_000, seed=0)
    model = Gaussian(mean=np.array([0.1, -0.2]), covariance=np.eye(2))
    for eps in (0.0, 0.5):
        normal = gaussian.gradient(model)
        attacked = x - eps * y[:, None] * normal / np.linalg.norm(normal)
        right = (gaussian.classify(model, attacked) == y).mean()
        assert right == pytest.approx(gaussian.accuracy(model, FIGURE_4, eps), abs=4 * 0.5 / math.sqrt(200_000))


def test_the_induced_metric_is_the_gradients_own():
    rng = np.random.default_rng(0)
    model = gaussian.random_gaussian(5, seed=4)
    a, b = rng.standard_normal((2, 5))
    assert gaussian.induced_distance(model, a, b) == pytest.approx(
        math.sqrt((a - b) @ np.linalg.inv(model.covariance) @ (a - b))
    )
    plain = Gaussian(mean=a, covariance=np.eye(5))
    assert gaussian.induced_distance(plain, a, b) == pytest.approx(np.linalg.norm(a - b))
    assert gaussian.induced_distance(model, model.mean, np.zeros(5)) ** 2 == pytest.approx(
        model.mean @ gaussian.gradient(model)
    )


# Lemmas 1 and 2


@given(SEEDS, st.floats(1.0, 1e3), RADII)
def test_no_direction_hurts_more_than_lemma_1s(seed, condition, eps):
    truth = gaussian.random_gaussian(2, seed, condition=condition)
    v = np.random.default_rng(seed).standard_normal((3, 2)) * 3
    delta = gaussian.worst_perturbations(truth.covariance, v, eps)
    np.testing.assert_allclose(np.linalg.norm(delta, axis=1), eps, rtol=1e-6)
    found = quadratic(truth.covariance, v + delta)
    for sample, value in zip(v, found, strict=True):
        around = quadratic(truth.covariance, sample + eps * circle(720))
        assert value >= around.max() * (1 - 1e-9)
        assert value == pytest.approx(around.max(), rel=1e-3)


@pytest.mark.parametrize(
    "v", [[2.0, 0.0], [0.0, 0.0], [1e-13, 0.0], [2.0, 1e-13]], ids=["no weak part", "zero", "tiny", "tiny weak part"]
)
def test_lemma_1_where_the_sample_has_no_part_along_the_weak_axis(v):
    covariance = np.diag([4.0, 0.25])
    delta = gaussian.worst_perturbations(covariance, np.array([v]), 1.0)
    assert np.linalg.norm(delta) == pytest.approx(1.0)
    best = quadratic(covariance, v + circle(100_000)).max()
    assert quadratic(covariance, v + delta)[0] == pytest.approx(best, rel=1e-6)


def test_no_linear_attack_of_the_same_budget_beats_lemma_2():
    truth = gaussian.random_gaussian(4, seed=0)
    model = gaussian.random_gaussian(4, seed=1)
    attack = gaussian.adversary_matrix(model.covariance, 1.5)
    budget = np.trace(attack @ truth.covariance @ attack.T)

    def gain(matrix):
        moved = np.eye(4) + matrix
        return np.trace(moved.T @ np.linalg.inv(model.covariance) @ moved @ truth.covariance)

    rng = np.random.default_rng(2)
    for size in (1e-3, 1e-1, 10.0) * 20:
        other = attack + size * rng.standard_normal((4, 4))
        other *= math.sqrt(budget / np.trace(other @ truth.covariance @ other.T))
        assert gain(other) < gain(attack)


# Theorem 1


@pytest.mark.parametrize(("dimension", "price"), [(3, 6.8), (10, 1.5), (50, 4.0)])
def test_theorem_1_by_monte_carlo(dimension, price):
    truth = gaussian.random_gaussian(dimension, seed=dimension)
    sides = gaussian.theorem_1(truth, price, n=40_000, seed=0)
    assert abs(sides.lhs - sides.rhs) <= sides.tolerance
    assert sides.tolerance < 0.1 * sides.rhs, "an interval this wide shows nothing"


def test_theorem_1_known_value():
    assert gaussian.excess_loss(np.diag([4.0, 1.0, 0.25]), 6.8) == pytest.approx(5.3503, abs=1e-4)


def test_theorem_1_as_printed_is_infinite():
    covariance, price, v = np.diag([4.0, 1.0, 0.25]), 6.8, np.array([1.0, -1.0, 0.5])
    best = gaussian.adversary_matrix(covariance, price) @ v
    lengths = np.geomspace(1, 1e6, 25)[:, None]

    def gain(delta, power):
        return quadratic(covariance, v + delta) - price * np.linalg.norm(delta, axis=1) ** power

    assert gain(best[None], 2)[0] >= gain(best * lengths, 2).max()
    assert gain(best * lengths, 1)[-1] > 1e9, "against C ||delta||_2 a longer perturbation always pays"


@given(st.integers(2, 50), SEEDS, CONDITIONS, st.floats(1.01, 100.0))
def test_theorem_1_is_least_where_all_directions_are_alike(dimension, seed, condition, price):
    sides = gaussian.theorem_1_minimum(gaussian.random_gaussian(dimension, seed, condition=condition), price)
    assert sides.lhs >= sides.rhs - 1e-9 * max(1.0, sides.rhs)


# Theorem 2


@given(DIMENSIONS, SEEDS, CONDITIONS, RADII)
def test_theorem_2_spends_the_budget_keeps_the_mean_and_is_stationary(dimension, seed, condition, eps):
    truth = gaussian.random_gaussian(dimension, seed, condition=condition)
    robust = gaussian.robust_mle(truth, eps)
    price = gaussian.lambda_for(truth.covariance, eps)
    attack = gaussian.adversary_matrix(robust.covariance, price)
    assert np.trace(attack @ truth.covariance @ attack.T) == pytest.approx(eps**2, rel=1e-6)
    np.testing.assert_array_equal(robust.mean, truth.mean)
    moved = np.eye(dimension) + attack
    attacked = moved @ truth.covariance @ moved.T
    assert np.linalg.norm(attacked - robust.covariance) <= 1e-6 * np.linalg.norm(attacked), "MLE of the attacked data"


@given(st.integers(2, 50), SEEDS, st.floats(1.01, 1e4), st.floats(1e-3, 5.0), st.floats(1.05, 4.0))
def test_a_stronger_adversary_is_cheaper_and_evens_the_covariance_out(dimension, seed, condition, eps, factor):
    truth = gaussian.random_gaussian(dimension, seed, condition=condition)
    weak, strong = (gaussian.robust_mle(truth, radius).covariance for radius in (eps, factor * eps))
    prices = [gaussian.lambda_for(truth.covariance, radius) for radius in (eps, factor * eps)]
    assert prices[0] > prices[1]
    conditions = [gaussian.condition_number(covariance) for covariance in (truth.covariance, weak, strong)]
    assert conditions[0] > conditions[1] > conditions[2]
    assert np.linalg.eigvalsh(strong - weak).min() > 0


@given(DIMENSIONS, SEEDS, CONDITIONS, st.floats(1e-4, 1e4), st.floats(1.01, 100.0))
def test_the_budget_falls_in_lambda(dimension, seed, condition, price, factor):
    covariance = gaussian.random_gaussian(dimension, seed, condition=condition).covariance
    assert gaussian.spent_budget(covariance, factor * price) < gaussian.spent_budget(covariance, price)


@pytest.mark.parametrize(
    ("truth", "eps"),
    [
        pytest.param(gaussian.random_gaussian(3, seed=5, condition=10.0), 0.9, id="near eps0"),
        pytest.param(gaussian.random_gaussian(3, seed=5, condition=10.0), 5.0, id="beyond the theorem's range"),
        pytest.param(gaussian.random_gaussian(20, seed=5), 0.5, id="20 dimensions"),
        pytest.param(FIGURE_4, 0.0, id="no adversary"),
        pytest.param(FIGURE_4, 1.0, id="figure 4, eps 1"),
        pytest.param(FIGURE_4, 10.0, id="figure 4, eps 10"),
        pytest.param(Gaussian(mean=np.array([1.0, 2.0]), covariance=np.diag([1e4, 1.0])), 0.5, id="variances apart"),
        pytest.param(Gaussian(mean=np.array([1.0, 2.0]), covariance=np.diag([1e4, 1.0])), 30.0, id="apart, strong"),
        pytest.param(Gaussian(mean=np.array([1e3, -1e3]), covariance=np.diag([4.0, 1.0])), 0.5, id="mean 1000"),
        pytest.param(Gaussian(mean=np.full(2, 1e-4), covariance=np.diag([4e-8, 1e-8])), 1e-4, id="small units"),
    ],
)
def test_theorem_2_is_where_adversarial_gradient_descent_ends(truth, eps):
    found, closed = gaussian.descend(truth, eps), gaussian.robust_mle(truth, eps)
    assert np.linalg.norm(found.covariance - closed.covariance) < 1e-3 * np.linalg.norm(closed.covariance)
    # In each coordinate: a norm would hide the small ones.
    assert abs(np.diag(found.covariance) / np.diag(closed.covariance) - 1).max() < 1e-3
    assert (abs(found.mean - truth.mean) < 1e-3 * np.sqrt(np.diag(closed.covariance))).all()


def test_descent_that_has_not_settled_is_refused():
    with pytest.raises(
        ConfigError, match=r"eps 1 has not settled: after 2 steps its gradient is still .*, above 1e-05"
    ):
        gaussian.descend(FIGURE_4, 1.0, steps=2)


def test_the_closed_form_is_the_least_of_the_adversarial_losses():
    s, price = 0.7, 2.3
    best = gaussian.robust_covariance(np.array([[s]]), price)[0, 0]
    searched = minimize_scalar(
        lambda sigma: math.log(sigma) + s * price / (price * sigma - 1),
        bounds=(1 / price + 1e-6, 50),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert best == pytest.approx(searched.x, rel=1e-6)


@given(DIMENSIONS, SEEDS, CONDITIONS, st.floats(1e-4, 0.99))
def test_theorem_2_bounds_lambda(dimension, seed, condition, eps):
    for sides in gaussian.theorem_2(gaussian.random_gaussian(dimension, seed, condition=condition), eps):
        assert sides.lhs >= sides.rhs - sides.tolerance


def test_theorem_2s_order_as_printed_fails_for_the_budget_of_eq_20():
    radii = np.geomspace(1e-1, 1e-6, 6)
    prices = np.array([gaussian.lambda_for(FIGURE_4.covariance, eps) for eps in radii])
    corrected = prices / ((1 + radii) / radii)
    printed = prices / ((1 + np.sqrt(radii)) / np.sqrt(radii))
    assert corrected.max() < 2 * corrected.min(), "of the order of the bound"
    assert (np.diff(printed) > 0).all()
    assert printed[-1] > 100 * printed[0], "no constant makes this an upper bound"


@pytest.mark.parametrize("eps", [1.0, 5.0])
def test_the_per_sample_solution_is_near_the_average_one_and_keeps_the_mean(eps):
    x, y = gaussian.sample(FIGURE_4, 1000, seed=0)
    standard = gaussian.standard_mle(x, y)
    found, averaged = gaussian.robust_mle_per_sample(x, y, eps), gaussian.robust_mle(standard, eps)
    distance = np.linalg.norm(found.covariance - averaged.covariance) / np.linalg.norm(averaged.covariance)
    assert distance < 0.2, "two dimensions are few; see the next test"
    drift = np.abs(found.mean - standard.mean) / np.sqrt(np.diag(standard.covariance))
    assert drift.max() < 0.06, "within sampling error, 2 / sqrt(n)"


def test_the_average_adversary_becomes_the_per_sample_one_in_many_dimensions():
    distances = []
    for dimension in (2, 10, 40):
        truth = Gaussian(mean=np.ones(dimension), covariance=np.diag(np.tile([4.0, 1.0], dimension // 2)))
        x, y = gaussian.sample(truth, 2000, seed=0)
        eps = 0.5 * math.sqrt(dimension)
        averaged = gaussian.robust_mle(gaussian.standard_mle(x, y), eps).covariance
        found = gaussian.robust_mle_per_sample(x, y, eps, tolerance=1e-4).covariance
        distances.append(np.linalg.norm(found - averaged) / np.linalg.norm(averaged))
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] < 0.02


# Theorem 3


@pytest.mark.parametrize("dimension", [2, 7, 50])
def test_theorem_3_by_brute_force(dimension):
    truth = gaussian.random_gaussian(dimension, seed=dimension)
    sides = gaussian.theorem_3(truth, 0.5)
    robust = gaussian.robust_mle(truth, 0.5).covariance
    assert gaussian.worst_alignment_by_search(truth.covariance, seed=0) == pytest.approx(sides.rhs, abs=1e-3)
    assert gaussian.worst_alignment_by_search(robust, seed=0) == pytest.approx(sides.lhs, abs=1e-3)
    assert sides.lhs > sides.rhs + 1e-2


def test_worst_alignment_known_value_on_a_grid_of_angles():
    covariance = np.diag([16.0, 1.0])
    quadrant = circle(20_000)[:5_001]  # the others are its mirror images
    cosines = [gaussian.alignment(Gaussian(mean=mean, covariance=covariance)) for mean in quadrant]
    assert min(cosines) == pytest.approx(8 / 17, abs=1e-6)
    assert gaussian.worst_alignment(covariance) == pytest.approx(8 / 17)


@given(st.integers(2, 50), SEEDS, st.floats(1.01, 1e4), RADII)
def test_theorem_3_and_lemma_8_hold(dimension, seed, condition, eps):
    truth = gaussian.random_gaussian(dimension, seed, condition=condition)
    aligned, conditioned = gaussian.theorem_3(truth, eps), gaussian.lemma_8(truth, eps)
    assert aligned.lhs > aligned.rhs
    assert conditioned.lhs >= conditioned.rhs


# Bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(
            lambda: Gaussian(mean=np.zeros(2), covariance=np.diag([1.0, -0.5])),
            r"not positive definite: its smallest eigenvalue is -0\.5",
            id="negative eigenvalue",
        ),
        pytest.param(
            lambda: gaussian.standard_mle(np.array([[1.0, 2.0], [3.0, 2.0], [2.0, 2.0]]), np.ones(3)),
            r"not positive definite: its smallest eigenvalue is",
            id="a direction without spread",
        ),
        pytest.param(
            lambda: Gaussian(mean=np.zeros(2), covariance=np.array([[1.0, 0.5], [0.0, 1.0]])),
            r"not symmetric: .* up to 0\.5",
            id="not symmetric",
        ),
        pytest.param(
            lambda: Gaussian(mean=np.zeros(3), covariance=np.eye(2)),
            r"covariance of shape \(3, 3\), not \(2, 2\)",
            id="shape",
        ),
        pytest.param(
            lambda: Gaussian(mean=np.array([math.nan]), covariance=np.eye(1)), r"must be finite", id="not a number"
        ),
        pytest.param(
            lambda: gaussian.theorem_2(FIGURE_4, 0.8), r"eps is 0\.8; .* \(0, eps0\) with eps0 = 0\.707107", id="eps0"
        ),
        pytest.param(lambda: gaussian.robust_mle(FIGURE_4, -1.0), r"eps is -1; .* \[0, inf\)", id="eps below 0"),
        pytest.param(
            lambda: gaussian.excess_loss(FIGURE_4.covariance, 2.0),
            r"price is 2; it must be above 1 / sigma_min = 2",
            id="price at its limit",
        ),
        pytest.param(
            lambda: gaussian.boundary_slope(Gaussian(mean=np.ones(3), covariance=np.eye(3))),
            r"2 dimensions, not 3",
            id="no slope",
        ),
        pytest.param(
            lambda: gaussian.robust_mle_per_sample(*gaussian.sample(FIGURE_4, 50, 0), 10.0, rounds=2),
            r"after 2 rounds",
            id="not settled",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_value(call, message):
    with pytest.raises(ConfigError, match=message):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda c: gaussian.lambda_for(c, 0.5),
        lambda c: gaussian.lambda_bounds(c, 0.5),
        lambda c: gaussian.spent_budget(c, 5.0),
        lambda c: gaussian.worst_perturbations(c, np.ones((1, 2)), 0.5),
        lambda c: gaussian.adversary_matrix(c, 5.0),
        gaussian.theorem_2_limit,
        gaussian.worst_alignment,
        lambda c: gaussian.worst_alignment_by_search(c, 0),
        gaussian.condition_number,
    ],
    ids=["lambda_for", "bounds", "budget", "perturbations", "matrix", "limit", "alignment", "search", "condition"],
)
@pytest.mark.parametrize(
    ("covariance", "said"),
    [
        (np.diag([1.0, -1.0]), "smallest eigenvalue is -1"),
        (np.diag([1.0, 0.0]), "smallest eigenvalue is 0"),
        (np.diag([1.0, math.nan]), r"the covariance is nan at \(1, 1\)"),
        (np.ones((2, 3)), r"square matrix, not of shape \(2, 3\)"),
        (np.array([[1.0, 0.5], [0.0, 1.0]]), "not symmetric"),
    ],
    ids=["negative", "singular", "nan", "not square", "not symmetric"],
)
def test_every_function_of_a_covariance_refuses_what_is_none(call, covariance, said):
    with pytest.raises(ConfigError, match=said):
        call(covariance)


@pytest.mark.parametrize("labels", [[0.0, 1.0, 1.0], [1.0, -1.0]], ids=["zero", "too few"])
def test_labels_are_signs_one_a_sample(labels):
    with pytest.raises(ConfigError, match="each -1 or 1"):
        gaussian.standard_mle(np.eye(3), np.array(labels))
