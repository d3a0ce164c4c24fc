"""Useful, non-robust features (Goh, Distill 2019): singular vectors of the data, and their ensembles and mixtures."""

from typing import NamedTuple

import torch
from torch import Tensor

from nrf_ray.errors import ConfigError
from nrf_ray.features.units import dual_norm, linear_usefulness, moments


class Places(NamedTuple):
    """Coordinates of linear features in the plane of Goh's figures, each [f]."""

    log_robustness: Tensor
    """log(||a||_Sigma / ||a||_2): log of the l2 distance that changes the feature by one standard deviation."""
    log_usefulness: Tensor
    """log |E[y f(x)]|."""


def two_classes(points: Tensor, labels: Tensor, positive: int, negative: int) -> tuple[Tensor, Tensor]:
    """Return the points of two classes, centred, [m, d], and their signs [m], +1 for `positive`, from [n, d] and [n].

    Raises ConfigError if a class has no points.
    """
    for label in (positive, negative):
        if not (labels == label).any():
            raise ConfigError(f"class {label} has no points; choose two classes of the dataset")
    chosen = (labels == positive) | (labels == negative)
    signs = torch.where(labels[chosen] == positive, 1.0, -1.0).to(points.dtype)
    return points[chosen] - points[chosen].mean(dim=0), signs


def singular_features(points: Tensor) -> Tensor:
    """Return the right singular vectors of centred points [n, d], as rows, from the most robust feature to the least.

    Directions in which the points do not vary are left out.
    """
    _, values, axes = torch.linalg.svd(points, full_matrices=False)
    kept: Tensor = axes[values > max(points.shape) * torch.finfo(points.dtype).eps * values[0]]
    return kept


def places(weights: Tensor, points: Tensor, signs: Tensor) -> Places:
    """Return the coordinates of the features weights [f, d] . x, on centred points [n, d] with signs [n]."""
    _, std = moments(points @ weights.T)
    rho = linear_usefulness(weights, points, signs, norm="l2", eps=0.0).rho
    return Places((std / dual_norm(weights, "l2")).log(), rho.log())


def ensemble(axes: Tensor, points: Tensor, signs: Tensor, *, below: float) -> Tensor:
    """Return the sum [1, d] of the features axes [f, d] of log robustness under `below`, each signed to agree with y.

    The sum of many hardly useful features is useful, and as little robust as they are. Raises ConfigError if no feature
    has a log robustness under `below`.
    """
    weak = places(axes, points, signs).log_robustness < below
    if not weak.any():
        raise ConfigError(f"no feature has a log robustness below {below:g}; choose a higher threshold")
    agreement = (signs @ (points @ axes[weak].T)).sign()
    return agreement[None] @ axes[weak]


def containment(non_robust: Tensor, robust: Tensor, alpha: float) -> Tensor:
    """Return (1 - alpha) times a non-robust feature plus alpha times a robust one: useful because of the robust part.

    The mixture is non-robust by the paper's definition although its information about y is robust. `alpha` is in [0,
    1].
    """
    if not 0 <= alpha <= 1:
        raise ConfigError(f"a mixture needs alpha in [0, 1], not {alpha:g}")
    return (1 - alpha) * non_robust + alpha * robust
