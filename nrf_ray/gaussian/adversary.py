"""The adversary of section 4: the worst perturbation of a Gaussian, and its strength.

Three adversaries share one formula, delta = (lambda Sigma - I)^-1 v, and differ in what fixes lambda:
- per sample, ||delta|| = eps (Lemma 1; `worst_perturbations`);
- on average, delta = M v with E||M v||^2 = eps^2 (eq. 20, Lemma 2; `lambda_for`), equal to the first as d grows;
- by price, lambda = C is given and each unit of ||delta||^2 costs C (Theorem 1).

The paper writes the budget as eps^2 in eq. (20) and as eps in (27) to (29). Here it is eps^2 everywhere: eps is a
length, in the units of x.
"""

import math

import numpy as np
from scipy.optimize import bisect

from nrf_ray.errors import ConfigError
from nrf_ray.gaussian.model import Array, check_positive_definite

HALVINGS = 100
"""Halvings of a bracket: as many as float64 can resolve."""


def check_eps(eps: float) -> None:
    """Raise ConfigError if `eps` is not a radius."""
    if not 0 <= eps < math.inf:
        raise ConfigError(f"eps is {eps:g}; it must be a finite number in [0, inf)")


def adversary_matrix(covariance: Array, price: float) -> Array:
    """Return M = (lambda Sigma - I)^-1 for lambda = `price` (Lemma 2); the worst perturbation of v is M v.

    Raises ConfigError if lambda <= 1 / sigma_min: then the adversary gains more than it pays, without bound.
    """
    check_positive_definite(covariance)
    smallest = float(np.linalg.eigvalsh(covariance)[0])
    if not price * smallest > 1:
        raise ConfigError(
            f"the adversary's price is {price:g}; it must be above 1 / sigma_min = {1 / smallest:g}, or the worst "
            "perturbation is infinite"
        )
    return np.asarray(np.linalg.inv(price * covariance - np.eye(len(covariance))))


def robust_covariance(covariance: Array, price: float) -> Array:
    """Return Sigma_r = Sigma/2 + I/lambda + sqrt(Sigma/lambda + Sigma^2/4) for lambda = `price` (Theorem 2)."""
    check_positive_definite(covariance)
    eigenvalues, axes = np.linalg.eigh(covariance)
    return np.asarray((axes * _robust_eigenvalues(eigenvalues, price)) @ axes.T)


def spent_budget(covariance: Array, price: float) -> float:
    """Return E||M v||^2 of the adversary against Sigma_r(lambda) (eq. 27), which equals tr(Sigma_r^-1) / lambda^2.

    It falls strictly as lambda grows, from infinity to zero.
    """
    check_positive_definite(covariance)
    return _spent(np.asarray(np.linalg.eigvalsh(covariance), np.float64), price)


def lambda_bounds(covariance: Array, eps: float) -> tuple[float, float]:
    """Return bounds below and above lambda for the data's covariance and eps > 0, with their constants.

    Both follow from s + 1/lambda <= sigma_r <= s + 2/lambda for every eigenvalue s, put into the budget: lambda grows
    as 1/eps for small eps. The paper's orders (Theorem 2) hold with its eps read as the budget, here eps^2.
    """
    check_positive_definite(covariance)
    eigenvalues = np.linalg.eigvalsh(covariance)
    d, smallest, largest = len(eigenvalues), float(eigenvalues[0]), float(eigenvalues[-1])
    lower = d / (eps * (eps + math.sqrt(eps**2 + d * largest)))
    upper = 2 * d / (eps * (eps + math.sqrt(eps**2 + 4 * d * smallest)))
    return lower, upper


def lambda_for(covariance: Array, eps: float) -> float:
    """Return the lambda at which the adversary spends eps^2 against Sigma_r(lambda), by bisection; inf for eps 0.

    The bracket is found by doubling and does not use `lambda_bounds`, so that those can be checked against it.
    """
    check_positive_definite(covariance)
    check_eps(eps)
    if eps == 0:
        return math.inf

    eigenvalues = np.asarray(np.linalg.eigvalsh(covariance), np.float64)

    def overspent(log_price: float) -> float:
        return math.log(_spent(eigenvalues, math.exp(log_price))) - 2 * math.log(eps)

    low = high = -math.log(eps)
    while overspent(low) < 0:
        low -= math.log(2)
    while overspent(high) > 0:
        high += math.log(2)
    return math.exp(float(bisect(overspent, low, high, xtol=1e-14, rtol=1e-14, maxiter=HALVINGS)))


def worst_perturbations(covariance: Array, v: Array, eps: float) -> Array:
    """Return for each v [n, d] the delta of length eps that maximises (v + delta)' Sigma^-1 (v + delta) (Lemma 1).

    lambda is found per sample by bisection of lambda sigma_min - 1. If v has no component along the axis of sigma_min,
    lambda may end at 1 / sigma_min; the rest of eps then goes along that axis, in either direction.
    """
    check_positive_definite(covariance)
    check_eps(eps)
    if eps == 0:
        return np.zeros_like(v)
    eigenvalues, axes = np.linalg.eigh(covariance)
    u, ratio = v @ axes, eigenvalues / eigenvalues[0]
    low, high = abs(u[:, 0]) / eps, np.linalg.norm(u, axis=1) / eps

    def perturbation(excess: Array) -> Array:
        return np.asarray(u / np.maximum((ratio - 1) + excess[:, None] * ratio, np.finfo(np.float64).tiny))

    for _ in range(HALVINGS):
        middle = (low + high) / 2
        long = np.linalg.norm(perturbation(middle), axis=1) > eps
        low, high = np.where(long, middle, low), np.where(long, high, middle)
    delta = perturbation(high)
    missing = eps**2 - (delta**2).sum(axis=1)
    filled = np.copysign(np.sqrt(np.maximum(missing + delta[:, 0] ** 2, 0)), u[:, 0])
    delta[:, 0] = np.where(missing > 1e-9 * eps**2, filled, delta[:, 0])
    return np.asarray(delta @ axes.T)


def _spent(eigenvalues: Array, price: float) -> float:
    """Return the budget of `spent_budget` for the eigenvalues of Sigma."""
    return float((1 / _robust_eigenvalues(eigenvalues, price)).sum() / price**2)


def _robust_eigenvalues(eigenvalues: Array, price: float) -> Array:
    return eigenvalues / 2 + 1 / price + np.sqrt(eigenvalues / price + eigenvalues**2 / 4)
