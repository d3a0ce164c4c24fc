"""Differences between two measurements at the same seeds: intervals and a test."""

from dataclasses import dataclass

import numpy as np

from nrf_ray.statistics.intervals import (
    LEVEL,
    RESAMPLES,
    Array,
    Interval,
    Values,
    bootstrap_interval,
    numbers,
    t_interval,
)


@dataclass(frozen=True, kw_only=True)
class PermutationTest:
    """A two-sided permutation test."""

    p: float
    """Share of the equally likely outcomes that are as extreme: twice the share of the rarer side."""
    smallest_p: float
    """Smallest p that so few values could give."""
    n: int
    """Number of values."""
    exact: bool
    """Whether every outcome was counted; otherwise `RESAMPLES` of them were sampled."""


@dataclass(frozen=True, kw_only=True)
class Paired:
    """A difference between two measurements at the same seeds."""

    t: Interval
    """t interval over seeds; valid if differences are normal, which few seeds cannot show."""
    bootstrap: Interval
    """Bootstrap interval over seeds; it assumes no distribution, and is too narrow for few seeds."""
    test: PermutationTest
    """Sign-flip test: without a difference, each value would be as likely with the other sign."""


def sign_flip_test(differences: Values) -> PermutationTest:
    """Return the test of no difference: is the mean as large with signs flipped at random? Exact up to 13 values.

    >>> sign_flip_test([0.2, 0.3, 0.4]).p, sign_flip_test([0.2, 0.3, 0.4]).smallest_p
    (0.25, 0.25)
    """
    found = numbers(differences)
    if len(found) < 2:
        return as_test(1.0, n=1, outcomes=2)

    from scipy import stats  # takes a second, so only where it is needed

    p = stats.permutation_test(
        (found,), np.mean, permutation_type="samples", vectorized=True, n_resamples=RESAMPLES, rng=0
    ).pvalue
    return as_test(p, n=len(found), outcomes=2 ** len(found))


def seeds_needed(rows: int) -> int:
    """Return how many seeds let a sign-flip test reach p < .05 after Holm's correction for a table of `rows`.

    Raises ValueError if `RESAMPLES` draws could not resolve so small a p.

    >>> seeds_needed(1), seeds_needed(10)
    (6, 9)
    """
    for seeds in range(2, RESAMPLES):
        test = as_test(1.0, n=seeds, outcomes=2**seeds)
        if test.smallest_p * rows < 1 - LEVEL:
            return seeds
        if not test.exact:
            break
    raise ValueError(f"{RESAMPLES} draws cannot resolve the p values of a table of {rows} rows; test fewer rows")


def paired(differences: Values, over: str = "seeds") -> Paired:
    """Return the intervals and the test of differences, one per seed."""
    return Paired(
        t=t_interval(differences, over),
        bootstrap=bootstrap_interval(differences, over),
        test=sign_flip_test(differences),
    )


def holm(p_values: Values) -> Array:
    """Return p values adjusted for the number of tests in a table (Holm 1979); NaN is not a test and stays NaN.

    statsmodels' `multipletests` gives the same numbers, and collects all garbage of the process at every call: 0.1 s
    where torch is loaded.

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    found = np.asarray(p_values, dtype=np.float64)
    adjusted, order = found.copy(), np.argsort(found)  # which puts NaN last
    order = order[: np.count_nonzero(~np.isnan(found))]
    tests_left = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(tests_left * found[order]), 1.0)
    return adjusted


def as_test(p: float | Array, *, n: int, outcomes: int) -> PermutationTest:
    """Return the test of a p found over `outcomes` equally likely outcomes; only up to `RESAMPLES` are all counted."""
    exact = outcomes <= RESAMPLES
    counted = outcomes if exact else RESAMPLES + 1
    return PermutationTest(p=float(p), smallest_p=min(1.0, 2 / counted), n=n, exact=exact)
