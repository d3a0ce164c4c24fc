"""Linear features, whose robustness is certified in closed form (Goh, Distill 2019).

Robust feature leakage: does D_rand or D_det teach through features that are provably robust?
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nrf_ray.attacks.threat import Norm
from nrf_ray.features.units import Usefulness, constant, dual_norm, linear_usefulness, moments

ITERATIONS = 300
"""Iterations of L-BFGS, at most; the losses are convex."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Linear:
    """The classifier argmax(weights x + bias)."""

    weights: Tensor
    """[k, d]."""
    bias: Tensor
    """[k]."""

    def logits(self, points: Tensor) -> Tensor:
        """Return the logits of points [n, d], as [n, k]."""
        return points @ self.weights.T + self.bias

    def accuracy(self, points: Tensor, labels: Tensor) -> float:
        """Return the accuracy on points [n, d] with labels [n]."""
        return float((self.logits(points).argmax(dim=1) == labels).double().mean())


def worst_cross_entropy(model: Linear, points: Tensor, labels: Tensor, *, norm: Norm, eps: float) -> Tensor:
    """Return the cross-entropy [n] of each point if every rival class gains as much as the ball allows.

    The gap of class j over y grows by at most eps ||w_j - w_y||_*, and this bound is attained. With two classes this is
    the exact maximum over the ball; with more it is an upper bound, because one perturbation cannot serve all rivals at
    once.
    """
    logits = model.logits(points)
    gaps = logits - logits.gather(1, labels[:, None])
    if eps > 0:
        gaps = gaps + eps * _pairwise(model.weights, norm)[labels]
    return torch.logsumexp(gaps, dim=1)


def fit_linear(
    points: Tensor, labels: Tensor, num_classes: int, *, norm: Norm = "l2", eps: float = 0.0, decay: float = 1e-4
) -> Linear:
    """Return the linear classifier of points [n, d] with the least mean `worst_cross_entropy`, by L-BFGS from zero.

    `decay` / 2 times the squared weights is added, so that the minimum exists also on separable data. With eps 0 this
    is plain multinomial regression.
    """
    weights = points.new_zeros(num_classes, points.shape[1]).requires_grad_(True)
    bias = points.new_zeros(num_classes).requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [weights, bias], max_iter=ITERATIONS, history_size=20, line_search_fn="strong_wolfe", tolerance_change=1e-10
    )

    def objective() -> Tensor:
        optimizer.zero_grad()
        model = Linear(weights=weights, bias=bias)
        loss = worst_cross_entropy(model, points, labels, norm=norm, eps=eps).mean()
        loss = loss + decay / 2 * weights.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(objective)  # type: ignore[no-untyped-call]
    return Linear(weights=weights.detach(), bias=bias.detach())


def certified(model: Linear, points: Tensor, *, norm: Norm, eps: float) -> Tensor:
    """Return whether the prediction is the same on the whole ball around each of points [n, d], exactly."""
    logits = model.logits(points)
    top, predictions = logits.max(dim=1)
    reach = eps * _pairwise(model.weights, norm)[predictions]
    others = F.one_hot(predictions, logits.shape[1]) == 0
    return ((top[:, None] - logits > reach) | ~others).all(dim=1)


def class_usefulness(model: Linear, points: Tensor, labels: Tensor, *, norm: Norm, eps: float) -> Usefulness:
    """Return the usefulness of each feature w_j . x for its own class j against the rest, on points [n, d].

    Training in too large a ball leaves weights whose feature is constant on the points; it has rho and gamma 0.
    """
    nothing = Usefulness(points.new_zeros(1), points.new_zeros(1))
    still = constant(points @ model.weights.T)
    found = [
        nothing if still[j] else linear_usefulness(row[None], points, 2.0 * (labels == j) - 1.0, norm=norm, eps=eps)
        for j, row in enumerate(model.weights)
    ]
    return Usefulness(*(torch.cat(column) for column in zip(*found, strict=True)))


def leakage(
    train: Tensor, labels: Tensor, test: Tensor, test_labels: Tensor, num_classes: int, *, decay: float = 1e-4
) -> float:
    """Return the accuracy on `test` [m, f] of a linear classifier of the features `train` [n, f] and their new labels.

    Both are scaled by the moments of `train`. A feature that is constant in `train` teaches nothing and is left out; if
    no feature is left, every image gets the commonest label. Chance is 1 / k; below chance, the features teach the
    wrong class on average.
    """
    varies = ~constant(train)
    if not varies.any():
        return float((test_labels == labels.mode().values).double().mean())
    mean, std = moments(train[:, varies])
    model = fit_linear((train[:, varies] - mean) / std, labels, num_classes, decay=decay)
    return model.accuracy((test[:, varies] - mean) / std, test_labels)


def _pairwise(weights: Tensor, norm: Norm) -> Tensor:
    """Return the dual norm of w_j - w_i for all pairs, [k, k]; its gradient is 0 if they are equal."""
    differences = weights[None] - weights[:, None]
    if norm != "l2":
        return dual_norm(differences, norm)
    squares: Tensor = differences.square().sum(dim=-1)
    return (squares + torch.finfo(weights.dtype).tiny).sqrt()
