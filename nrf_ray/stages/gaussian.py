"""One random instance of the Gaussian model, and every theorem of section 4 checked on it."""

from dataclasses import dataclass

from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.seeding import derive_seed
from nrf_ray.stages.costs import OVERHEAD

TOLERANCE = 1e-3
"""Relative tolerance between the result of an iterative search and that of a formula."""
ROUNDING = 1e-6
"""Relative tolerance between the results of two formulas."""


@dataclass(frozen=True, kw_only=True)
class TheorySpec:
    """One instance: random axes, random mean, variances from 1 to `condition`."""

    dimension: int
    """Dimension d of x."""
    eps: float
    """Radius of the adversary, below 1."""
    seed: int
    """Seed of axes, variances, mean and samples."""
    condition: float = 50.0
    """Condition number of the covariance."""
    samples: int = 20_000
    """Number of samples of the Monte Carlo check of Theorem 1."""


def _cost(handle: Stage) -> float:
    return OVERHEAD + 1.4 + 8e-4 * float(handle.config.dimension) ** 2


@stage(version=1, cost=_cost, on_gpu=False)
def gaussian_theory(config: TheorySpec, context: Context) -> Metrics:
    """Measure both sides of every statement and the tolerance between them: STATEMENT.lhs, .rhs and .tolerance."""
    import numpy as np

    from nrf_ray import gaussian
    from nrf_ray.engine.runtime import prepare
    from nrf_ray.gaussian import Sides

    prepare(context.stage.resources)
    seed, eps = derive_seed(config.seed, "gaussian", config.dimension), config.eps
    truth = gaussian.random_gaussian(config.dimension, seed, condition=config.condition)
    robust, found = gaussian.robust_mle(truth, eps), gaussian.descend(truth, eps)
    price = gaussian.lambda_for(truth.covariance, eps)
    attack = gaussian.adversary_matrix(robust.covariance, price)
    lower, upper = gaussian.theorem_2(truth, eps)
    aligned = gaussian.theorem_3(truth, eps)
    searched = gaussian.worst_alignment_by_search(robust.covariance, seed)

    def distance(left: gaussian.Array, right: gaussian.Array) -> Sides:
        return Sides(lhs=float(np.linalg.norm(left - right) / np.linalg.norm(right)), rhs=0.0, tolerance=TOLERANCE)

    statements = {
        "theorem_1": gaussian.theorem_1(truth, 1 + 1 / eps, n=config.samples, seed=seed),
        "theorem_1_minimum": gaussian.theorem_1_minimum(truth, 1 + 1 / eps),
        "lemma_2_budget": Sides(
            lhs=float(np.trace(attack @ truth.covariance @ attack)), rhs=eps**2, tolerance=ROUNDING * eps**2
        ),
        "theorem_2_mean": distance(found.mean, robust.mean),
        "theorem_2_covariance": distance(found.covariance, robust.covariance),
        "theorem_2_lower": lower,
        "theorem_2_upper": upper,
        "lemma_8": gaussian.lemma_8(truth, eps),
        "theorem_3_formula": Sides(lhs=searched, rhs=aligned.lhs, tolerance=TOLERANCE),
        "theorem_3": Sides(lhs=searched, rhs=aligned.rhs),
    }
    return {f"{name}.{side}": value for name, sides in statements.items() for side, value in vars(sides).items()}
