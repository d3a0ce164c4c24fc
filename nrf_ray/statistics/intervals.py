"""Means and shares with their intervals, and the sources of their spread."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

LEVEL = 0.95
"""Confidence level of every interval."""
NORMAL_QUANTILE = 1.959963984540054
"""Quantile (1 + LEVEL) / 2 of the normal distribution, `scipy.special.ndtri` of it."""
RESAMPLES = 9999
"""Resamples of a bootstrap; a permutation test is exact if it has no more outcomes."""
ROUNDING = 1e-12
"""Rounding error by which means of the same numbers may differ; a smaller spread counts as zero."""

Values = Sequence[float] | npt.NDArray[Any] | pd.Series
"""One number for each seed, test image or architecture that an interval is over."""
Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate and a 95% interval around it."""

    estimate: float
    """Point estimate."""
    low: float
    """Lower end; NaN if there is a single value, which allows no interval."""
    high: float
    """Upper end; NaN as `low`."""
    n: int
    """Number of values."""
    over: str
    """Kind of unit that the interval is over: seeds, test images, architectures."""
    method: str
    """Method: t, Wilson, Newcombe, BCa bootstrap, percentile bootstrap."""

    def excludes(self, value: float) -> bool:
        """Return whether `value` is outside; False if there is no interval."""
        return value < self.low or value > self.high


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Sources of the spread of one recipe's accuracies at several seeds, on the same n test images.

    Model: accuracy of seed s = true accuracy of seed s + test noise. On n new images the noise has variance a (1 - a) /
    n. All seeds share their images, so only the noise that differs between seeds shows in their spread: a spread below
    `test_std` is usual, and then the seeds are as good as alike (Jordan 2024). `beyond_std` subtracts all of the noise
    and is therefore a lower bound.
    """

    seed_std: float
    """Standard deviation between seeds as observed; NaN for one seed."""
    test_std: float
    """Standard deviation of one accuracy over draws of n test images, binomial."""
    beyond_std: float
    """Part of `seed_std` that test noise cannot explain; 0 if test noise explains all of it."""
    seeds: int
    """Number of seeds."""
    n: int
    """Number of test images."""


def t_interval(values: Values, over: str = "seeds") -> Interval:
    """Return the mean with its t interval; NaN ends for a single value.

    >>> interval = t_interval([0.2, 0.3, 0.4])
    >>> round(interval.estimate, 3), round(interval.high, 3)
    (0.3, 0.548)
    """
    found = numbers(values)
    half = math.nan
    if len(found) > 1:
        from scipy.special import stdtrit  # not scipy.stats, whose import takes a second

        half = float(stdtrit(len(found) - 1, (1 + LEVEL) / 2) * (found.std(ddof=1) / len(found) ** 0.5))
    mean = float(found.mean())
    return Interval(estimate=mean, low=mean - half, high=mean + half, n=len(found), over=over, method="t")


def wilson_interval(share: float, n: int, over: str = "test images") -> Interval:
    """Return a share of n images with its Wilson interval; a mean of shares is rounded to the nearest whole count.

    scipy.stats gives the same numbers, and its import takes a second of every run.
    """
    count, z = round(share * n), NORMAL_QUANTILE
    p = count / n
    q = 1 - p
    scale = 2 * (n + z**2)
    center, half = (2 * n * p + z**2) / scale, z / scale * math.sqrt(4 * n * p * q + z**2)
    low, high = (0.0 if count == 0 else center - half), (1.0 if count == n else center + half)
    return Interval(estimate=share, low=low, high=high, n=n, over=over, method="Wilson")


def difference_interval(first: float, second: float, ns: tuple[int, int], over: str = "test images") -> Interval:
    """Return second - first for shares of `ns` images with Newcombe's interval of 1998 (method 10).

    It assumes that the images of both are sampled independently; if they are the same images, it is wider than
    necessary.
    """
    from statsmodels.stats.proportion import confint_proportions_2indep

    counts = round(first * ns[0]), round(second * ns[1])
    low, high = confint_proportions_2indep(
        counts[1], ns[1], counts[0], ns[0], method="newcomb", compare="diff", alpha=1 - LEVEL
    )
    estimate = second - first
    return Interval(estimate=estimate, low=float(low), high=float(high), n=min(ns), over=over, method="Newcombe")


def bootstrap_interval(values: Values, over: str = "seeds") -> Interval:
    """Return the mean with its BCa bootstrap interval; NaN ends for a single value."""
    from scipy import stats

    found = numbers(values)
    mean = float(found.mean())
    if len(found) < 2:
        low = high = math.nan
    elif np.ptp(found) < ROUNDING:
        low = high = mean
    else:
        low, high = stats.bootstrap(
            (found,), np.mean, confidence_level=LEVEL, n_resamples=RESAMPLES, method="BCa", vectorized=True, rng=0
        ).confidence_interval
    return Interval(estimate=mean, low=float(low), high=float(high), n=len(found), over=over, method="BCa bootstrap")


def spread(accuracies: Values, n: int) -> Spread:
    """Return the spread of accuracies, one per seed, on the same n test images, and the spread due to test noise."""
    found = numbers(accuracies)
    mean = float(found.mean())
    seed_std = float(found.std(ddof=1)) if len(found) > 1 else math.nan
    test_std = math.sqrt(mean * (1 - mean) / n)
    beyond = math.sqrt(max(0.0, seed_std**2 - test_std**2)) if len(found) > 1 else math.nan
    return Spread(seed_std=seed_std, test_std=test_std, beyond_std=beyond, seeds=len(found), n=n)


def seed_means(frame: pd.DataFrame, column: str) -> "pd.Series[float]":
    """Return the mean of `column` for each seed, over everything else that varies."""
    return frame.groupby("seed")[column].mean()


def over_seeds(frame: pd.DataFrame, column: str) -> Interval:
    """Return the mean of `column` over everything else that varies, then its t interval over seeds."""
    return t_interval(seed_means(frame, column))


def numbers(values: Values) -> Array:
    """Return values as an array [n] of float64; raise ValueError if there are none or one is not finite."""
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or not len(found) or not np.isfinite(found).all():
        raise ValueError(f"statistics need a list of finite numbers, not {values!r}")
    return found
