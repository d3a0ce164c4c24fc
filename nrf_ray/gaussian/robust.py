"""Robust maximum likelihood three ways: in closed form, per sample, and by adversarial gradient descent.

The robust problem (eq. 12) is convex in (Sigma^-1 mu, Sigma^-1), so whatever is stationary is the solution (E.3.4).
"""

import math

import numpy as np

from nrf_ray.errors import ConfigError
from nrf_ray.gaussian.adversary import (
    adversary_matrix,
    check_eps,
    lambda_for,
    robust_covariance,
    worst_perturbations,
)
from nrf_ray.gaussian.model import Array, Gaussian, standard_mle


def robust_mle(truth: Gaussian, eps: float) -> Gaussian:
    """Return the model that is best against the average adversary of radius `eps` (Theorem 2).

    The mean stays; each eigenvalue of the covariance grows. Valid for every eps >= 0: the point is stationary, and the
    problem convex. The range that the theorem gives is where its bounds on lambda are proved; see `theorem_2`.
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
    moved = np.eye(len(covariance)) + adversary_matrix(covariance, price)
    return float(np.trace(moved @ moved)) - len(covariance)


def robust_mle_per_sample(x: Array, y: Array, eps: float, *, tolerance: float = 1e-4, rounds: int = 1000) -> Gaussian:
    """Return the model of x [n, d], y [n] that is best where every sample moves by exactly `eps` (eq. 12 itself).

    At the solution the model is the ordinary MLE of the worst samples (Danskin), so the model goes part of the way to
    that MLE again and again. The steps shrink because a sample on the boundary of two worst directions never settles.
    Raises ConfigError where after `rounds` a step is still longer than `tolerance` of the model.
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


def descend(truth: Gaussian, eps: float, *, steps: int = 2000, lr: float = 0.05) -> Gaussian:
    """Return the model that adversarial gradient descent finds against the average adversary of radius `eps`.

    It knows neither lemma nor theorem. The model starts at mean 0 and covariance I; Adam moves the mean and the
    logarithm of the covariance along the gradient of the exact expected loss on the attacked data; the attack is a
    linear map N that climbs by normalised gradient steps on its budget, as PGD does, and is kept from step to step.
    """
    import torch

    check_eps(eps)
    d = truth.dimension
    true_mean, true_covariance = torch.from_numpy(truth.mean), torch.from_numpy(truth.covariance)
    mean = torch.zeros(d, dtype=torch.float64, requires_grad=True)
    logarithm = torch.zeros(d, d, dtype=torch.float64, requires_grad=True)
    attack = torch.zeros(d, d, dtype=torch.float64)
    optimizer = torch.optim.Adam([mean, logarithm], lr=lr)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 - step / steps)
        symmetric = (logarithm + logarithm.T) / 2
        precision = torch.linalg.matrix_exp(-symmetric)
        offset = true_mean - mean
        # Columns of `spread` stand for the samples: spread @ spread.T = E[v v'] at this mean.
        spread = torch.linalg.cholesky(true_covariance + torch.outer(offset, offset))
        with torch.no_grad():
            for _ in range(3):
                ascent = precision @ (spread + attack)
                attack = eps * ascent / ascent.norm()
        moved = spread + attack
        objective = ((precision @ moved) * moved).sum() + symmetric.trace()
        optimizer.zero_grad()
        objective.backward()
        optimizer.step()
    with torch.no_grad():
        covariance = torch.linalg.matrix_exp((logarithm + logarithm.T) / 2)
    return Gaussian(mean=mean.detach().numpy(), covariance=covariance.numpy())
