"""Linear features, whose robustness is certified in closed form: Goh's two experiments (Distill 2019).

Robust feature leakage: does D_rand or D_det teach through features that are provably robust? Useful, non-robust
features: singular vectors of the data, and what ensembles and mixtures of them show.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from nrf_ray.attacks.threat import Norm
from nrf_ray.errors import ConfigError
from nrf_ray.features.units import Usefulness, constant, dual_norm, linear_usefulness, moments

ITERATIONS = 300
"""Of L-BFGS; the losses are convex."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Linear:
    """The classifier argmax of weights x + bias."""

    weights: Tensor
    """[k, d]."""
    bias: Tensor
    """[k]."""

    def logits(self, points: Tensor) -> Tensor:
        """Return the logits of points [n, d], as [n, k]."""
        return points @ self.weights.T + self.bias

    def accuracy(self, points: Tensor, labels: Tensor) -> float:
        """Return the share of points [n, d] that get their label [n]."""
        return float((self.logits(points).argmax(dim=1) == labels).double().mean())


def worst_cross_entropy(model: Linear, points: Tensor, labels: Tensor, *, norm: Norm, eps: float) -> Tensor:
    """Return the cross-entropy [n] of each point where every rival class gains all that the ball allows it.

    The gap of class j over y grows by at most eps ||w_j - w_y||_*, and by exactly that. With two classes this is the
    exact maximum over the ball; with more it is an upper bound, as one perturbation cannot serve all rivals at once.
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
    """Return for each of points [n, d] whether the prediction is the same on its whole ball, exactly."""
    logits = model.logits(points)
    top, predictions = logits.max(dim=1)
    reach = eps * _pairwise(model.weights, norm)[predictions]
    others = F.one_hot(predictions, logits.shape[1]) == 0
    return ((top[:, None] - logits > reach) | ~others).all(dim=1)


def class_usefulness(model: Linear, points: Tensor, labels: Tensor, *, norm: Norm, eps: float) -> Usefulness:
    """Return the usefulness of each feature w_j . x for its own class j against the rest, on points [n, d].

    Training in too wide a ball leaves weights that never tell points apart: such a feature has rho and gamma 0.
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

    Both are scaled by the moments of `train`; a feature that never varies there teaches nothing and is left out, and
    where none is left every image gets the commonest label. Chance is 1 / k; below it, what the features
    teach is wrong on average.
    """
    varies = ~constant(train)
    if not varies.any():
        return float((test_labels == labels.mode().values).double().mean())
    mean, std = moments(train[:, varies])
    model = fit_linear((train[:, varies] - mean) / std, labels, num_classes, decay=decay)
    return model.accuracy((test[:, varies] - mean) / std, test_labels)


# Two Examples of Useful, Non-Robust Features


class Places(NamedTuple):
    """Where linear features lie in the plane of Goh's figures, each [f]."""

    log_robustness: Tensor
    """log(||a||_Sigma / ||a||_2): how far a unit of l2 distance goes in the feature's standard deviations, inverted."""
    log_usefulness: Tensor
    """log |E[y f(x)]|."""


def two_classes(points: Tensor, labels: Tensor, positive: int, negative: int) -> tuple[Tensor, Tensor]:
    """Return the points of two classes, centred, [m, d], and their signs [m], +1 for `positive`, from [n, d] and [n].

    Raises ConfigError where a class has no points.
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
    """Return where the features weights [f, d] . x lie, on centred points [n, d] with signs [n]."""
    _, std = moments(points @ weights.T)
    rho = linear_usefulness(weights, points, signs, norm="l2", eps=0.0).rho
    return Places((std / dual_norm(weights, "l2")).log(), rho.log())


def ensemble(axes: Tensor, points: Tensor, signs: Tensor, *, below: float) -> Tensor:
    """Return the sum [1, d] of the features axes [f, d] of log robustness under `below`, each turned to agree with y.

    Many features that are each hardly useful make one that is, and that is as little robust as they are. Raises
    ConfigError where no feature lies below.
    """
    weak = places(axes, points, signs).log_robustness < below
    if not weak.any():
        raise ConfigError(f"no feature has a log robustness below {below:g}; choose a higher threshold")
    agreement = (signs @ (points @ axes[weak].T)).sign()
    return agreement[None] @ axes[weak]


def containment(non_robust: Tensor, robust: Tensor, alpha: float) -> Tensor:
    """Return (1 - alpha) times a non-robust feature plus alpha times a robust one: useful because of the robust part.

    It is non-robust by the paper's definition although what it knows of y is robust. `alpha` is in [0, 1].
    """
    if not 0 <= alpha <= 1:
        raise ConfigError(f"a mixture needs alpha in [0, 1], not {alpha:g}")
    return (1 - alpha) * non_robust + alpha * robust


def _pairwise(weights: Tensor, norm: Norm) -> Tensor:
    """Return the dual norm of w_j - w_i for all pairs, [k, k]; its gradient is 0 where they are equal."""
    differences = weights[None] - weights[:, None]
    if norm != "l2":
        return dual_norm(differences, norm)
    squares: Tensor = differences.square().sum(dim=-1)
    return (squares + torch.finfo(weights.dtype).tiny).sqrt()
