"""Two Gaussians that differ in the sign of their mean, and the classifier that they imply."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nrf_ray.errors import ConfigError

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Gaussian:
    """The distribution x ~ N(y mean, covariance) for y = +1 and y = -1, equally likely."""

    mean: Array
    """mu, [d]."""
    covariance: Array
    """Sigma, [d, d]: symmetric, positive definite."""

    def __post_init__(self) -> None:
        if self.mean.ndim != 1 or len(self.mean) == 0:
            raise ConfigError(f"a mean is a vector of one number or more, not of shape {self.mean.shape}")
        d = len(self.mean)
        if self.covariance.shape != (d, d):
            raise ConfigError(
                f"a mean of {d} numbers needs a covariance of shape {(d, d)}, not {self.covariance.shape}"
            )
        if not np.isfinite(self.mean).all():
            raise ConfigError(f"the mean is {self.mean}; all its numbers must be finite")
        check_positive_definite(self.covariance)

    @property
    def dimension(self) -> int:
        """Number of coordinates d."""
        return len(self.mean)


def check_positive_definite(covariance: Array) -> None:
    """Raise ConfigError, with the number that shows it, if `covariance` is not symmetric positive definite.

    An eigenvalue below rounding (machine epsilon times d times the largest) counts as zero.
    """
    covariance = np.asarray(covariance, dtype=np.float64)
    if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1] or covariance.size == 0:
        raise ConfigError(f"a covariance is a square matrix, not of shape {covariance.shape}")
    if not np.isfinite(covariance).all():
        entry = tuple(int(index) for index in np.argwhere(~np.isfinite(covariance))[0])
        raise ConfigError(f"the covariance is {covariance[entry]} at {entry}; all its numbers must be finite")
    asymmetry = float(abs(covariance - covariance.T).max())
    if asymmetry > 1e-9 * float(abs(covariance).max()):
        raise ConfigError(f"the covariance is not symmetric: it differs from its transpose by up to {asymmetry:g}")
    eigenvalues = np.linalg.eigvalsh(covariance)
    smallest = float(eigenvalues[0])
    if smallest <= np.finfo(np.float64).eps * len(eigenvalues) * float(abs(eigenvalues).max()):
        raise ConfigError(
            f"the covariance is not positive definite: its smallest eigenvalue is {smallest:g}; drop the directions "
            "in which the data does not vary, or take more samples than dimensions"
        )


def random_gaussian(dimension: int, seed: int, *, condition: float = 50.0) -> Gaussian:
    """Return a random instance: eigenvalues log-uniform from 1 to `condition` (both taken), axes uniformly random."""
    rng = np.random.default_rng(seed)
    exponents = np.concatenate([[0.0, 1.0], rng.uniform(size=max(dimension - 2, 0))])[:dimension]
    axes, _ = np.linalg.qr(rng.standard_normal((dimension, dimension)))
    covariance = (axes * condition**exponents) @ axes.T
    return Gaussian(mean=rng.standard_normal(dimension), covariance=(covariance + covariance.T) / 2)


def sample(model: Gaussian, n: int, seed: int) -> tuple[Array, Array]:
    """Return n samples x [n, d] and their labels y [n] in {-1, +1}."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(np.array([-1.0, 1.0]), size=n)
    noise = rng.standard_normal((n, model.dimension)) @ np.linalg.cholesky(model.covariance).T
    return labels[:, None] * model.mean + noise, labels


def standard_mle(x: Array, y: Array) -> Gaussian:
    """Return the maximum-likelihood model of x [n, d] with labels y [n] in {-1, +1} (section 4, eq. 11).

    Raises ConfigError if the samples span too few dimensions, or a label is neither -1 nor 1.
    """
    others = sorted({float(label) for label in np.unique(y)} - {-1.0, 1.0})
    if others or len(y) != len(x):
        raise ConfigError(f"{len(x)} samples need as many labels, each -1 or 1, not {len(y)} with {others[:3]}")
    mean = (y[:, None] * x).mean(axis=0)
    v = x - y[:, None] * mean
    return Gaussian(mean=mean, covariance=v.T @ v / len(v))


def loss(model: Gaussian, x: Array, y: Array) -> Array:
    """Return v' Sigma^-1 v + log det Sigma of each sample, [n], with v = x - y mu."""
    v = x - y[:, None] * model.mean
    quadratic = np.einsum("nd,nd->n", v, np.linalg.solve(model.covariance, v.T).T)
    return np.asarray(quadratic + np.linalg.slogdet(model.covariance).logabsdet)


def gradient(model: Gaussian) -> Array:
    """Return Sigma^-1 mu [d]: the direction of the loss's input gradient, and the classifier's normal (section 4)."""
    return np.asarray(np.linalg.solve(model.covariance, model.mean))


def classify(model: Gaussian, x: Array) -> Array:
    """Return sign(x' Sigma^-1 mu) of each sample, [n]: the more likely label."""
    return np.asarray(np.sign(x @ gradient(model)))


def induced_distance(model: Gaussian, a: Array, b: Array) -> float:
    """Return sqrt((a - b)' Sigma^-1 (a - b)), the distance of points a and b [d] in the metric of the features.

    If it is large and the l2 distance is small, a small perturbation changes the features a lot: they are non-robust.
    """
    return math.sqrt(float((a - b) @ np.linalg.solve(model.covariance, a - b)))


def alignment(model: Gaussian) -> float:
    """Return the cosine between the mean (half the vector between the class means) and the gradient (Theorem 3)."""
    normal = gradient(model)
    return float(model.mean @ normal / (np.linalg.norm(model.mean) * np.linalg.norm(normal)))


def boundary_slope(model: Gaussian) -> float:
    """Return the slope x2 / x1 of the decision boundary of a model in two dimensions, as Figure 4 shows it."""
    if model.dimension != 2:
        raise ConfigError(f"a slope needs 2 dimensions, not {model.dimension}")
    first, second = gradient(model)
    return float(-first / second)


def condition_number(covariance: Array) -> float:
    """Return the largest eigenvalue divided by the smallest."""
    check_positive_definite(covariance)
    eigenvalues = np.linalg.eigvalsh(covariance)
    return float(eigenvalues[-1] / eigenvalues[0])


def accuracy(model: Gaussian, truth: Gaussian, eps: float = 0.0) -> float:
    """Return the exact share of `truth` that `model` classifies correctly in the whole l2 ball of radius `eps`."""
    normal = gradient(model)
    margin = float(normal @ truth.mean) - eps * float(np.linalg.norm(normal))
    return float(stats.norm.cdf(margin / math.sqrt(float(normal @ truth.covariance @ normal))))
