"""The theory of the paper's section 4 and appendix E: robust maximum likelihood for two Gaussians.

Data: y is +1 or -1 with equal chance and x ~ N(y mu, Sigma). Everything here is float64 and exact up to rounding; each
function is one statement of the paper, so that every statement can be checked against brute force.

Throughout, the loss is v' Sigma^-1 v + log det Sigma with v = x - y mu: twice the negative log-likelihood, without its
constant. The factor 2 is the paper's own (Theorem 1 drops the 1/2); no minimiser depends on it.
"""

from nrf_ray.gaussian.adversary import (
    adversary_matrix,
    lambda_bounds,
    lambda_for,
    robust_covariance,
    spent_budget,
    worst_perturbations,
)
from nrf_ray.gaussian.model import (
    Array,
    Gaussian,
    accuracy,
    alignment,
    boundary_slope,
    classify,
    condition_number,
    gradient,
    induced_distance,
    loss,
    random_gaussian,
    sample,
    standard_mle,
)
from nrf_ray.gaussian.robust import descend, excess_loss, robust_mle, robust_mle_per_sample
from nrf_ray.gaussian.theorems import (
    Sides,
    lemma_8,
    theorem_1,
    theorem_1_minimum,
    theorem_2,
    theorem_2_limit,
    theorem_3,
    worst_alignment,
    worst_alignment_by_search,
)

__all__ = [
    "Array",
    "Gaussian",
    "Sides",
    "accuracy",
    "adversary_matrix",
    "alignment",
    "boundary_slope",
    "classify",
    "condition_number",
    "descend",
    "excess_loss",
    "gradient",
    "induced_distance",
    "lambda_bounds",
    "lambda_for",
    "lemma_8",
    "loss",
    "random_gaussian",
    "robust_covariance",
    "robust_mle",
    "robust_mle_per_sample",
    "sample",
    "spent_budget",
    "standard_mle",
    "theorem_1",
    "theorem_1_minimum",
    "theorem_2",
    "theorem_2_limit",
    "theorem_3",
    "worst_alignment",
    "worst_alignment_by_search",
    "worst_perturbations",
]
