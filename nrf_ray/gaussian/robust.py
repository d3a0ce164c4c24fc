"""Robust maximum likelihood three ways: in closed form, per sample, and by adversarial gradient descent.

The robust problem (eq. 12) is convex in (Sigma^-1 mu, Sigma^-1), so every stationary point is the solution (E.3.4).
"""

import math
from typing import Any

import numpy as np
from scipy.optimize import brentq, minimize

from nrf_ray.errors import ConfigError
from nrf_ray.gaussian.adversary import (
    adversary_matrix,
    check_eps,
    lambda_for,
    robust_covariance,
    worst_perturbations,
)
from nrf_ray.gaussian.model import Array, Gaussian, check_positive_definite, standard_mle

SETTLED = 1e-5
"""Largest slope of the loss that counts as zero, per unit of the whitened parameters; their curvature is about 1."""


def robust_mle(truth: Gaussian, eps: float) -> Gaussian:
    """Return the model that is best against the average adversary of radius `eps` (Theorem 2).

    The mean stays; each eigenvalue of the covariance grows. Valid for every eps >= 0, because the point is stationary
    and the problem convex. In the theorem's range of eps, its bounds on lambda are proved; see `theorem_2`.
    """
    price = lambda_for(truth.covariance, eps)
    if math.isinf(price):
        return truth
    return Gaussian(mean=truth.mean, covariance=robust_covariance(truth.covariance, price))


def excess_loss(covariance: Array, price: float) -> float:
    """Return L_adv - L = tr[(I + (C Sigma - I)^-1)^2] - d for the price C (Theorem 1).

    The adversary maximises (v + delta)' Sigma^-1 (v + delta) - C ||delta||^2, and the price it pays is not part of
    L_adv. The theorem prints C ||delta||_2; against that price the quadratic wins and L_adv would be infinite.
    """
    check_positive_definite(covariance)
    moved = np.eye(len(covariance)) + adversary_matrix(covariance, price)
    return float(np.trace(moved @ moved)) - len(covariance)


def robust_mle_per_sample(x: Array, y: Array, eps: float, *, tolerance: float = 1e-4, rounds: int = 1000) -> Gaussian:
    """Return the model of x [n, d], y [n] that is best if every sample moves by exactly `eps` (eq. 12 itself).

    At the solution the model is the ordinary MLE of the worst samples (Danskin), so every round moves the model a part
    of the way to that MLE. The steps shrink because a sample on the boundary between two worst directions never
    settles. Raises ConfigError if after `rounds` a step is still longer than `tolerance` of the model.
    """
    check_eps(eps)
    model = standard_mle(x, y)
    for done in range(rounds):
        v = x - y[:, None] * model.mean
        best = standard_mle(x + worst_perturbations(model.covariance, v, eps), y)
        part, scale = 1 / (2 + done / 10), float(np.trace(model.covariance))
        mean, covariance = part * (best.mean - model.mean), part * (best.covariance - model.covariance)
        model = Gaussian(mean=model.mean + mean, covariance=model.covariance + covariance)
        step = max(float(np.linalg.norm(covariance)) / scale, float(np.linalg.norm(mean)) / math.sqrt(scale))
        if step < tolerance:
            return model
    raise ConfigError(
        f"the per-sample solution for eps {eps:g} still moves by {step:.1e} a round after {rounds} rounds; take more "
        "samples, more rounds or a larger tolerance"
    )


def descend(truth: Gaussian, eps: float, *, steps: int = 1000) -> Gaussian:
    """Return the model that adversarial gradient descent finds against the average adversary of radius `eps`.

    It does not use the closed form of Theorem 2. L-BFGS moves (mu, the Cholesky factor of Sigma) along the gradient of
    the exact expected loss on the attacked data, [d] and [d, d] in float64, in units in which Sigma + (eps^2 / d) I is
    the identity, so the scale of the data does not matter. It starts one standard deviation from the data's mean, in
    every direction. The attack is recomputed at every step. Raises ConfigError if after `steps` steps the gradient is
    not zero.
    """
    import torch

    check_eps(eps)
    d = truth.dimension
    scale = torch.from_numpy(np.linalg.cholesky(truth.covariance + eps**2 / d * np.eye(d)))
    true_factor = torch.from_numpy(np.linalg.cholesky(truth.covariance))

    def unpacked(parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        offset, logarithms, below = parameters[:d], parameters[d : 2 * d], parameters[2 * d :]
        lower = torch.zeros(d, d, dtype=torch.float64)
        rows, columns = torch.tril_indices(d, d, -1)
        return offset, logarithms, lower.index_put((rows, columns), below) + torch.diag(logarithms.exp())

    def objective(values: Array) -> tuple[float, Array]:
        parameters = torch.tensor(values, dtype=torch.float64, requires_grad=True)
        offset, logarithms, factor = unpacked(parameters)
        # Columns of `spread` represent the samples: spread @ spread.T = E[v v'] at this mean.
        spread = torch.cat([true_factor, (scale @ offset)[:, None]], dim=1)
        whitener = torch.linalg.solve_triangular(scale @ factor, torch.eye(d, dtype=torch.float64), upper=False)
        attack = _worst_matrix((whitener.T @ whitener).detach().numpy(), spread.detach().numpy(), eps)
        moved = whitener @ (spread + torch.from_numpy(attack))
        loss = (moved**2).sum() + 2 * logarithms.sum()
        (slope,) = torch.autograd.grad(loss, parameters)
        return float(loss.detach()), slope.numpy()

    start = np.concatenate([np.ones(d), np.zeros(d + d * (d - 1) // 2)])
    settings: Any = {"maxiter": steps, "maxfun": 2 * steps, "ftol": 0.0, "gtol": SETTLED / 10, "maxcor": 20}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=settings)
    slope = float(abs(found.jac).max())
    if not slope <= SETTLED:
        raise ConfigError(
            f"adversarial gradient descent for eps {eps:g} has not settled: after {found.nit} steps its gradient is "
            f"still {slope:.1e}, above {SETTLED:g}; allow more than {steps} steps"
        )
    offset, _, factor = unpacked(torch.from_numpy(found.x))
    root = (scale @ factor).numpy()
    return Gaussian(mean=truth.mean + (scale @ offset).numpy(), covariance=root @ root.T)


def _worst_matrix(precision: Array, spread: Array, eps: float) -> Array:
    """Return the matrix N [d, n] of Frobenius norm `eps` that maximises tr[(S + N)' P (S + N)].

    S is `spread` [d, n] and P is `precision` [d, d]. A quadratic on a sphere: N = (t - P)^-1 P S, with the multiplier
    t > p_max that gives N its length.
    """
    if eps == 0:
        return np.zeros_like(spread)
    eigenvalues, axes = np.linalg.eigh(precision)
    pulled = eigenvalues[:, None] * (axes.T @ spread)
    parts, gaps = np.linalg.norm(pulled, axis=1), eigenvalues[-1] - eigenvalues

    def overlong(log_excess: float) -> float:
        return math.log(float(np.linalg.norm(parts / (gaps + math.exp(log_excess)))) / eps)

    # At the lower end the last axis alone has this length; at the upper end all axes together would, without gaps.
    ends = math.log(parts[-1] / eps) - 1e-6, math.log(np.linalg.norm(parts) / eps) + 1e-6
    excess = math.exp(float(brentq(overlong, *ends, xtol=1e-14, rtol=1e-14)))
    return np.asarray(axes @ (pulled / (gaps + excess)[:, None]))
