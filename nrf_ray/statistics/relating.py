"""Two measurements of the same architectures: how do they go together?"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from nrf_ray.statistics.intervals import LEVEL, RESAMPLES, ROUNDING, Array, Interval, Values, numbers
from nrf_ray.statistics.paired import PermutationTest, as_test

_QUANTILES = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """How two measurements of the same things go together."""

    r: Interval
    """Pearson's r, or Spearman's of ranks."""
    test: PermutationTest
    """Permuted pairings: were they unrelated, every pairing would be as likely."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A least-squares line through points, with what resampled points make of it."""

    slope: Interval
    """Change of y for a change of x by 1."""
    intercept: Interval
    """y at x = 0."""
    x: Array
    """Where the band is given."""
    y: Array
    """The line there."""
    low: Array
    """Lower end of the pointwise band there."""
    high: Array
    """Upper end of the pointwise band there."""


def correlation(x: Values, y: Values, *, over: str = "architectures", ranks: bool = False) -> Correlation:
    """Return Pearson's r of paired values, or Spearman's of their ranks, with a bootstrap over the pairs.

    The interval is of percentiles, since resamples in which all values of a side are equal have no correlation and are
    left out. NaN ends for fewer than three pairs. Raises ValueError where a side does not vary.
    """
    left, right = numbers(x), numbers(y)
    if min(np.ptp(left), np.ptp(right)) < ROUNDING:
        raise ValueError("values that are all equal correlate with nothing")

    def r(a: Array, b: Array) -> Array:
        a, b = (_centred(stats.rankdata(values, axis=-1) if ranks else values) for values in (a, b))
        ratio = _ratio((a * b).sum(axis=-1), np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1)))
        return np.clip(ratio, -1.0, 1.0)

    low, high = _percentiles(_resampled(left, right, r)) if len(left) > 2 else (math.nan, math.nan)
    p = stats.permutation_test(
        (left,),
        lambda a, axis: r(a, right),
        permutation_type="pairings",
        vectorized=True,
        n_resamples=RESAMPLES,
        rng=0,
    ).pvalue
    return Correlation(
        r=_percentile_interval(float(r(left, right)), low, high, len(left), over),
        test=as_test(p, n=len(left), outcomes=math.factorial(len(left))),
    )


def regression(x: Values, y: Values, at: Values, *, over: str = "architectures") -> Line:
    """Return the least-squares line through the pairs, and a band at the points `at` by a bootstrap over the pairs.

    Resamples in which all x are equal have no line and are left out. Raises ValueError where x does not vary.
    """
    left, right, points = numbers(x), numbers(y), numbers(at)
    if np.ptp(left) < ROUNDING:
        raise ValueError("there is no line through points that all have the same x")

    def slope(a: Array, b: Array) -> Array:
        centred = _centred(a)
        return _ratio((centred * b).sum(axis=-1), (centred**2).sum(axis=-1))

    def intercept(a: Array, b: Array) -> Array:
        found: Array = b.mean(axis=-1) - slope(a, b) * a.mean(axis=-1)
        return found

    slopes, intercepts = _resampled(left, right, slope), _resampled(left, right, intercept)
    lines = slopes[:, None] * points + intercepts[:, None]
    low, high = np.nanquantile(lines, _QUANTILES, axis=0)
    best = float(slope(left, right)), float(intercept(left, right))
    slope_interval, intercept_interval = (
        _percentile_interval(estimate, *_percentiles(drawn), len(left), over)
        for estimate, drawn in zip(best, (slopes, intercepts), strict=True)
    )
    line = best[0] * points + best[1]
    return Line(slope=slope_interval, intercept=intercept_interval, x=points, y=line, low=low, high=high)


def _resampled(x: Array, y: Array, statistic: Callable[[Array, Array], Array]) -> Array:
    """Return a statistic of pairs drawn with replacement; the same draws for every statistic.

    scipy.stats.bootstrap gives no interval at all where the statistic of one resample is undefined.
    """
    picks = np.random.default_rng(0).integers(len(x), size=(RESAMPLES, len(x)))
    return statistic(x[picks], y[picks])


def _centred(values: Array) -> Array:
    found: Array = values - values.mean(axis=-1, keepdims=True)
    return found


def _ratio(above: Array, below: Array) -> Array:
    """Return above / below; NaN where nothing but rounding is below."""
    return np.divide(above, below, where=below > ROUNDING, out=np.full_like(below, np.nan))


def _percentiles(drawn: Array) -> tuple[float, float]:
    low, high = np.nanquantile(drawn, _QUANTILES)
    return float(low), float(high)


def _percentile_interval(estimate: float, low: float, high: float, n: int, over: str) -> Interval:
    return Interval(estimate=estimate, low=low, high=high, n=n, over=over, method="percentile bootstrap")
