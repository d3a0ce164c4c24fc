"""Relation between two measurements of the same architectures: correlation and regression."""

import math
from dataclasses import dataclass

import numpy as np

from nrf_ray.statistics.intervals import LEVEL, RESAMPLES, ROUNDING, Array, Interval, Values, numbers
from nrf_ray.statistics.paired import PermutationTest, as_test

_QUANTILES = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """Correlation of two measurements of the same architectures."""

    r: Interval
    """Pearson's r, or Spearman's of ranks."""
    test: PermutationTest
    """Permuted pairings: if the two were unrelated, every pairing would be as likely."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A least-squares line through points, with its bootstrap intervals and band."""

    slope: Interval
    """Change of y for a change of x by 1."""
    intercept: Interval
    """y at x = 0."""
    x: Array
    """Points at which the band is given."""
    y: Array
    """The line at these points."""
    low: Array
    """Lower end of the pointwise band at these points."""
    high: Array
    """Upper end of the pointwise band at these points."""


def correlation(x: Values, y: Values, *, over: str = "architectures", ranks: bool = False) -> Correlation:
    """Return Pearson's r of paired values, or Spearman's of their ranks, with a bootstrap over the pairs.

    The interval is a percentile interval, because resamples in which all values of a side are equal have no correlation
    and are left out. Its ends are NaN for fewer than three pairs. Raises ValueError if a side does not vary.
    """
    from scipy import stats

    left, right = numbers(x), numbers(y)
    if min(np.ptp(left), np.ptp(right)) < ROUNDING:
        raise ValueError("values that are all equal correlate with nothing")

    low = high = math.nan
    if len(left) > 2:
        drawn = _ranked(*_varying(*_resampled(left, right)), ranks)
        low, high = _percentiles(np.asarray(stats.pearsonr(*drawn, axis=-1).statistic))
    pairings = stats.PermutationMethod(n_resamples=RESAMPLES, rng=0)
    found = stats.pearsonr(*_ranked(left, right, ranks), method=pairings)
    return Correlation(
        r=_percentile_interval(float(found.statistic), low, high, len(left), over),
        test=as_test(found.pvalue, n=len(left), outcomes=math.factorial(len(left))),
    )


def regression(x: Values, y: Values, at: Values, *, over: str = "architectures") -> Line:
    """Return the least-squares line through the pairs, and a band at the points `at` by a bootstrap over the pairs.

    Resamples in which all x are equal have no line and are left out. Raises ValueError if x does not vary.
    """
    from scipy import stats

    left, right, points = numbers(x), numbers(y), numbers(at)
    if np.ptp(left) < ROUNDING:
        raise ValueError("there is no line through points that all have the same x")

    best = stats.linregress(left, right)
    a, b = _resampled(left, right)
    sloping = np.ptp(a, axis=-1) > ROUNDING
    a, b = a[sloping], b[sloping]
    slopes = _slopes(a, b)
    intercepts = b.mean(axis=-1) - slopes * a.mean(axis=-1)
    low, high = np.quantile(slopes[:, None] * points + intercepts[:, None], _QUANTILES, axis=0)
    slope_interval, intercept_interval = (
        _percentile_interval(float(estimate), *_percentiles(drawn), len(left), over)
        for estimate, drawn in ((best.slope, slopes), (best.intercept, intercepts))
    )
    line = best.slope * points + best.intercept
    return Line(slope=slope_interval, intercept=intercept_interval, x=points, y=line, low=low, high=high)


def _resampled(x: Array, y: Array) -> tuple[Array, Array]:
    """Return pairs drawn with replacement, [resamples, n] each; the same draws for every statistic.

    scipy.stats.bootstrap gives no interval at all if the statistic of one resample is undefined.
    """
    picks = np.random.default_rng(0).integers(len(x), size=(RESAMPLES, len(x)))
    return x[picks], y[picks]


def _varying(x: Array, y: Array) -> tuple[Array, Array]:
    """Return the resamples in which both sides vary."""
    both = np.minimum(np.ptp(x, axis=-1), np.ptp(y, axis=-1)) > ROUNDING
    return x[both], y[both]


def _slopes(x: Array, y: Array) -> Array:
    """Return the least-squares slope of each resample, [resamples]; x varies in all of them.

    scipy.stats.linregress would compute them one by one, which takes a second and a half.
    """
    from scipy import stats

    slopes, tilted = np.zeros(len(x)), np.ptp(y, axis=-1) > ROUNDING
    x, y = x[tilted], y[tilted]
    slopes[tilted] = stats.pearsonr(x, y, axis=-1).statistic * y.std(axis=-1) / x.std(axis=-1)
    return slopes


def _ranked(x: Array, y: Array, ranks: bool) -> tuple[Array, Array]:
    if not ranks:
        return x, y
    from scipy import stats

    return stats.rankdata(x, axis=-1), stats.rankdata(y, axis=-1)


def _percentiles(drawn: Array) -> tuple[float, float]:
    low, high = np.quantile(drawn, _QUANTILES)
    return float(low), float(high)


def _percentile_interval(estimate: float, low: float, high: float, n: int, over: str) -> Interval:
    return Interval(estimate=estimate, low=low, high=high, n=n, over=over, method="percentile bootstrap")
