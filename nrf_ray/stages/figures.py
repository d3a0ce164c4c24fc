"""The paper's pictures of the theory: Figure 4, and Figure 14 of appendix D.10.

The paper does not state their parameters. Those of Figure 4 are read off its axes and boundary; for Figure 14, any
dataset will do on which empirical risk minimisation is accurate but not robust.
"""

from dataclasses import dataclass

from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.seeding import derive_seed
from nrf_ray.stages.costs import OVERHEAD


@dataclass(frozen=True, kw_only=True)
class FigureSpec:
    """A Gaussian in the plane with axis-parallel covariance, and its robust models."""

    mean: tuple[float, float]
    """Mean mu."""
    variances: tuple[float, float]
    """Diagonal of the covariance Sigma."""
    radii: tuple[float, ...]
    """Radii of the adversary, ascending from 0."""
    samples: int
    """Number of samples drawn and given to the per-sample solver."""
    seed: int
    """Seed of the samples."""


def _figure_4_cost(handle: Stage) -> float:
    """Return the cost of Figure 4: the per-sample solver takes 1 s for 500 samples and one radius."""
    config: FigureSpec = handle.config
    return OVERHEAD + 2e-3 * config.samples * len(config.radii)


@stage(version=1, cost=_figure_4_cost, on_gpu=False)
def figure_4(config: FigureSpec, context: Context) -> Metrics:
    """Write `figure_4.svg`; measure condition number, boundary slope and drift of the mean for the i-th radius, from 0.

    `drift.i` is the distance of the mean of the per-sample solution from the mean of the samples, in standard errors,
    in the coordinate where it is largest.
    """
    import numpy as np

    from nrf_ray import gaussian
    from nrf_ray.engine.runtime import prepare
    from nrf_ray.gaussian.pictures import draw_figure_4

    prepare(context.stage.resources)
    truth = gaussian.Gaussian(mean=np.array(config.mean), covariance=np.diag(config.variances))
    x, y = gaussian.sample(truth, config.samples, derive_seed(config.seed, "figure 4"))
    standard = gaussian.standard_mle(x, y)
    errors = np.sqrt(np.diag(standard.covariance) / config.samples)
    metrics = {}
    for i, eps in enumerate(config.radii):
        robust = gaussian.robust_mle(truth, eps)
        moved = gaussian.robust_mle_per_sample(x, y, eps)
        metrics[f"condition.{i}"] = gaussian.condition_number(robust.covariance)
        metrics[f"slope.{i}"] = gaussian.boundary_slope(robust)
        metrics[f"drift.{i}"] = float((abs(moved.mean - standard.mean) / errors).max())
    context.write("figure_4.svg", draw_figure_4(truth, config.radii, x, y))
    return metrics


def _figure_14_cost(handle: Stage) -> float:
    """Return the cost of Figure 14, whose samples are only drawn."""
    config: FigureSpec = handle.config
    return OVERHEAD + 1e-3 * config.samples


@stage(version=1, cost=_figure_14_cost, on_gpu=False)
def figure_14(config: FigureSpec, context: Context) -> Metrics:
    """Write `figure_14.svg`; measure the exact clean and robust accuracy of the standard and the robust classifier.

    The robust classifier is fitted, and both classifiers are tested, at the last of the radii.
    """
    import numpy as np

    from nrf_ray import gaussian
    from nrf_ray.engine.runtime import prepare
    from nrf_ray.gaussian.pictures import draw_figure_14

    prepare(context.stage.resources)
    truth, eps = gaussian.Gaussian(mean=np.array(config.mean), covariance=np.diag(config.variances)), config.radii[-1]
    x, y = gaussian.sample(truth, config.samples, derive_seed(config.seed, "figure 14"))
    robust = gaussian.robust_mle(truth, eps)
    context.write("figure_14.svg", draw_figure_14(truth, eps, x, y))
    return {
        "standard.clean": gaussian.accuracy(truth, truth),
        "standard.robust": gaussian.accuracy(truth, truth, eps),
        "robust.clean": gaussian.accuracy(robust, truth),
        "robust.robust": gaussian.accuracy(robust, truth, eps),
    }
