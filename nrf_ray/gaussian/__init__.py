"""The theory of the paper's section 4 and appendix E: robust maximum likelihood for two Gaussians.

Data: y is +1 or -1 with equal chance and x ~ N(y mu, Sigma). Everything here is float64 and exact up to rounding; each
function is one statement of the paper, so that every statement can be checked against brute force.

Throughout, the loss is v' Sigma^-1 v + log det Sigma with v = x - y mu: twice the negative log-likelihood, without its
constant. The factor 2 is the paper's own (Theorem 1 drops the 1/2); no minimiser depends on it.
"""

from nrf_ray.gaussian.adversary import adversary_matrix as adversary_matrix
from nrf_ray.gaussian.adversary import lambda_bounds as lambda_bounds
from nrf_ray.gaussian.adversary import lambda_for as lambda_for
from nrf_ray.gaussian.adversary import robust_covariance as robust_covariance
from nrf_ray.gaussian.adversary import spent_budget as spent_budget
from nrf_ray.gaussian.adversary import worst_perturbations as worst_perturbations
from nrf_ray.gaussian.model import Array as Array
from nrf_ray.gaussian.model import Gaussian as Gaussian
from nrf_ray.gaussian.model import accuracy as accuracy
from nrf_ray.gaussian.model import alignment as alignment
from nrf_ray.gaussian.model import boundary_slope as boundary_slope
from nrf_ray.gaussian.model import classify as classify
from nrf_ray.gaussian.model import condition_number as condition_number
from nrf_ray.gaussian.model import gradient as gradient
from nrf_ray.gaussian.model import induced_distance as induced_distance
from nrf_ray.gaussian.model import loss as loss
from nrf_ray.gaussian.model import random_gaussian as random_gaussian
from nrf_ray.gaussian.model import sample as sample
from nrf_ray.gaussian.model import standard_mle as standard_mle
from nrf_ray.gaussian.robust import descend as descend
from nrf_ray.gaussian.robust import excess_loss as excess_loss
from nrf_ray.gaussian.robust import robust_mle as robust_mle
from nrf_ray.gaussian.robust import robust_mle_per_sample as robust_mle_per_sample
from nrf_ray.gaussian.theorems import Sides as Sides
from nrf_ray.gaussian.theorems import lemma_8 as lemma_8
from nrf_ray.gaussian.theorems import theorem_1 as theorem_1
from nrf_ray.gaussian.theorems import theorem_1_minimum as theorem_1_minimum
from nrf_ray.gaussian.theorems import theorem_2 as theorem_2
from nrf_ray.gaussian.theorems import theorem_2_limit as theorem_2_limit
from nrf_ray.gaussian.theorems import theorem_3 as theorem_3
from nrf_ray.gaussian.theorems import worst_alignment as worst_alignment
from nrf_ray.gaussian.theorems import worst_alignment_by_search as worst_alignment_by_search
