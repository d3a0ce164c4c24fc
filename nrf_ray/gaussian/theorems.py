"""The theorems of section 4 as functions that return both of their sides.

If the printed statement differs from what the proof proves, the function takes the proved statement and says so.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from nrf_ray.errors import ConfigError
from nrf_ray.gaussian.adversary import adversary_matrix, lambda_bounds, lambda_for
from nrf_ray.gaussian.model import Array, Gaussian, check_positive_definite, condition_number, loss, sample
from nrf_ray.gaussian.robust import excess_loss, robust_mle

STANDARD_ERRORS = 4.0
"""Half-width of the Monte Carlo interval: one check in 16,000 fails by chance."""


@dataclass(frozen=True, kw_only=True)
class Sides:
    """The two sides of an equation or an inequality."""

    lhs: float
    """Left-hand side."""
    rhs: float
    """Right-hand side."""
    tolerance: float = 0.0
    """Error that an equation may have, or by which rounding may violate an inequality."""


def theorem_1(truth: Gaussian, price: float, *, n: int, seed: int) -> Sides:
    """Return the sides of Theorem 1: the excess loss under attack at the price C = the trace formula.

    The left-hand side is a Monte Carlo mean over n samples; the tolerance is the half-width of its own interval. Raises
    ConfigError if C <= 1 / sigma_min.
    """
    x, y = sample(truth, n, seed)
    delta = (x - y[:, None] * truth.mean) @ adversary_matrix(truth.covariance, price)
    excess = loss(truth, x + delta, y) - loss(truth, x, y)
    # The loss without an attack has a known mean, d + log det; subtracting the loss per sample only removes noise.
    half_width = STANDARD_ERRORS * float(excess.std(ddof=1)) / math.sqrt(n)
    return Sides(lhs=float(excess.mean()), rhs=excess_loss(truth.covariance, price), tolerance=half_width)


def theorem_1_minimum(truth: Gaussian, price: float) -> Sides:
    """Return the sides of Theorem 1, second part: excess loss of Sigma >= that of (tr(Sigma) / d) I.

    The latter is the best covariance of that trace.
    """
    d = truth.dimension
    even = float(np.trace(truth.covariance)) / d * np.eye(d)
    return Sides(lhs=excess_loss(truth.covariance, price), rhs=excess_loss(even, price), tolerance=1e-9)


def theorem_2_limit(covariance: Array) -> float:
    """Return eps0: Theorem 2 is proved for eps^2 < sigma_min (proof of Lemma 5, whose text prints sigma_min^2)."""
    check_positive_definite(covariance)
    return math.sqrt(float(np.linalg.eigvalsh(covariance)[0]))


def theorem_2(truth: Gaussian, eps: float) -> tuple[Sides, Sides]:
    """Return the sides of Theorem 2's bounds: lambda >= its lower bound, and its upper bound >= lambda.

    Constants are as in `lambda_bounds`. With the budget eps^2 of eq. (20) the orders are Omega((1+eps)/(eps+eps^3)) and
    O((1+eps)/eps); the printed orders have the square root of eps in place of eps and hold for the budget eps of (27).
    Raises ConfigError for eps outside (0, eps0), to which the theorem does not apply.
    """
    limit = theorem_2_limit(truth.covariance)
    if not 0 < eps < limit:
        raise ConfigError(f"eps is {eps:g}; Theorem 2 holds for eps in (0, eps0) with eps0 = {limit:g} here")
    price = lambda_for(truth.covariance, eps)
    lower, upper = lambda_bounds(truth.covariance, eps)
    return (
        Sides(lhs=price, rhs=lower, tolerance=1e-9 * price),
        Sides(lhs=upper, rhs=price, tolerance=1e-9 * price),
    )


def theorem_3(truth: Gaussian, eps: float) -> Sides:
    """Return the sides of Theorem 3: min over mu of cos(mu, gradient) of the robust model > of the standard model.

    The sides are equal if eps is 0 or the condition number is 1.
    """
    robust = robust_mle(truth, eps)
    return Sides(lhs=worst_alignment(robust.covariance), rhs=worst_alignment(truth.covariance))


def lemma_8(truth: Gaussian, eps: float) -> Sides:
    """Return the sides of Lemma 8: condition number of Sigma >= condition number of Sigma_r."""
    robust = robust_mle(truth, eps)
    return Sides(lhs=condition_number(truth.covariance), rhs=condition_number(robust.covariance), tolerance=1e-9)


def worst_alignment(covariance: Array) -> float:
    """Return min over mu of cos(mu, Sigma^-1 mu) = 2 sqrt(kappa) / (1 + kappa), kappa = cond(Sigma) (Lemma 8)."""
    check_positive_definite(covariance)
    kappa = condition_number(covariance)
    return 2 * math.sqrt(kappa) / (1 + kappa)


def worst_alignment_by_search(covariance: Array, seed: int, *, starts: int = 4) -> float:
    """Return min over mu of cos(mu, Sigma^-1 mu), found by descent from random directions: no formula is used."""
    check_positive_definite(covariance)
    precision = np.linalg.inv(covariance)
    rng = np.random.default_rng(seed)

    def cosine(mean: Array) -> tuple[float, Array]:
        image = precision @ mean
        length, image_length = np.linalg.norm(mean), np.linalg.norm(image)
        value = float(mean @ image / (length * image_length))
        slope = 2 * image / (length * image_length) - value * (mean / length**2 + precision @ image / image_length**2)
        return value, slope

    draws = rng.standard_normal((starts, len(covariance)))
    return min(
        float(minimize(cosine, draw, jac=True, method="L-BFGS-B", options={"ftol": 1e-15}).fun) for draw in draws
    )
