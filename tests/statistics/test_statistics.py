"""Statistics against published numbers, enumeration, and simulation."""

import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from nrf_ray.statistics import (
    bootstrap_interval,
    correlation,
    difference_interval,
    holm,
    over_seeds,
    paired,
    regression,
    sign_flip_test,
    spread,
    t_interval,
    wilson_interval,
)

DARWIN = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
"""Differences in height of 15 pairs of maize, in eighths of an inch: Fisher (1935) counts 1726 of 32768 as extreme."""

LSAT = [576, 635, 558, 578, 666, 580, 555, 661, 651, 605, 653, 575, 545, 572, 594]
GPA = [3.39, 3.30, 2.81, 3.03, 3.44, 3.07, 3.00, 3.43, 3.36, 3.13, 3.12, 2.74, 2.76, 2.88, 2.96]
"""The law schools of Efron and Tibshirani (1993), table 3.1; r = .776."""

FIGURE_3 = ([0.279, 0.394, 0.408, 0.417, 0.447], [0.657, 0.827, 0.921, 0.927, 0.987])
"""The five architectures of the paper's Figure 3."""

shares = st.floats(0, 1).map(lambda share: round(share, 3))


def ends(interval):
    return interval.low, interval.high


def test_the_t_interval_by_hand():
    interval = t_interval([0.5, 0.6, 0.7])
    assert interval.estimate == pytest.approx(0.6)
    assert ends(interval) == pytest.approx((0.6 - 0.24841, 0.6 + 0.24841), abs=1e-5)  # 4.3027 * 0.1 / sqrt(3)
    assert (interval.n, interval.over, interval.method) == (3, "seeds", "t")


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(10, 100, 0.0552, 0.1744), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
    ids=["10 of 100", "0 of 10", "10 of 10", "81 of 263 (Newcombe 1998)"],
)
def test_wilson_intervals_of_the_textbooks(hits, n, low, high):
    interval = wilson_interval(hits / n, n)
    assert ends(interval) == pytest.approx((low, high), abs=5e-5)
    assert (interval.estimate, interval.n, interval.over) == (hits / n, n, "test images")


@pytest.mark.parametrize(
    ("one", "other", "low", "high"),
    [((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090), ((6, 7), (2, 7), 0.0582, 0.8062)],
    ids=str,
)
def test_intervals_of_differences_of_shares_are_those_of_newcombe(one, other, low, high):
    """Newcombe (1998), table II, method 10."""
    (hits, n), (others, m) = one, other
    interval = difference_interval(others / m, hits / n, (m, n))
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)
    assert (interval.estimate, interval.over) == (pytest.approx(hits / n - others / m), "test images")
    back = difference_interval(hits / n, others / m, (n, m))
    assert (back.low, back.high) == pytest.approx((-high, -low), abs=5e-5)


@given(st.integers(1, 5000), st.data())
def test_a_wilson_interval_has_the_very_ends_of_scipy(n, data):
    """Tables have these ends, so another rounding would be another table."""
    count = data.draw(st.integers(0, n))
    found = stats.binomtest(count, n).proportion_ci(0.95, method="wilson")
    assert ends(wilson_interval(count / n, n)) == (found.low, found.high)


@given(st.lists(shares, min_size=2, max_size=12))
def test_a_t_interval_has_the_very_ends_of_scipy(values):
    mean = float(np.mean(values))
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    assert ends(t_interval(values)) == (mean - half, mean + half)


def test_intervals_do_not_wait_for_the_import_of_scipy_stats():
    """It takes a second of every run."""
    code = (
        "import sys; from nrf_ray.statistics import t_interval, wilson_interval\n"
        "t_interval([0.5, 0.6]), wilson_interval(0.5, 10); print('scipy.stats' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@given(st.integers(1, 5000), st.data())
def test_a_wilson_interval_holds_its_share_and_stays_in_bounds(n, data):
    share = data.draw(st.integers(0, n)) / n
    interval = wilson_interval(share, n)
    assert 0 <= interval.low <= share + 1e-12
    assert share - 1e-12 <= interval.high <= 1


def test_the_bootstrap_of_many_values_is_the_t_interval():
    values = np.random.default_rng(0).normal(0.5, 0.1, size=300)
    assert ends(bootstrap_interval(values)) == pytest.approx(ends(t_interval(values)), abs=1e-3)


def test_the_bootstrap_leans_to_the_long_side_where_the_t_interval_cannot():
    values = [0.10, 0.11, 0.12, 0.12, 0.13, 0.14, 0.15, 0.90]
    interval = bootstrap_interval(values)
    assert interval.high - interval.estimate > 1.5 * (interval.estimate - interval.low)
    assert min(values) <= interval.low < interval.estimate < interval.high <= max(values)
    assert bootstrap_interval(values) == interval, "it has a seed of its own"


@pytest.mark.parametrize("method", [t_interval, bootstrap_interval], ids=["t", "bootstrap"])
def test_one_value_has_no_interval_and_equal_values_have_an_empty_one(method):
    alone = method([0.7])
    assert alone.estimate == 0.7
    assert math.isnan(alone.low)
    assert not alone.excludes(0.0)
    same = method([0.7, 0.7, 0.7])
    assert ends(same) == pytest.approx((0.7, 0.7))
    assert same.excludes(0.0)


@pytest.mark.parametrize("values", [[], [0.1, math.nan], [[0.1], [0.2]]], ids=["none", "missing", "a table"])
def test_what_is_no_list_of_numbers_is_refused(values):
    with pytest.raises(ValueError, match="a list of finite numbers"):
        t_interval(values)


def test_fishers_test_of_darwins_maize():
    test = sign_flip_test(DARWIN)
    assert test.p == pytest.approx(1726 / 32768, abs=0.006)
    assert (test.n, test.exact, test.smallest_p) == (15, False, 2 / 10000)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 10, 13])
def test_few_seeds_allow_no_small_p(n):
    test = sign_flip_test([0.1 * (i + 1) for i in range(n)])
    assert test.p == test.smallest_p == 2.0 ** (1 - n)
    assert test.exact


@given(st.lists(shares, min_size=2, max_size=6))
def test_the_sign_flip_test_counts_every_flip(values):
    signs = np.array(np.meshgrid(*[[1, -1]] * len(values))).reshape(len(values), -1).T
    means = (signs * values).mean(axis=1)
    seen = np.mean(values)
    more, less = (means >= seen - 1e-12).mean(), (means <= seen + 1e-12).mean()
    assert sign_flip_test(values).p == pytest.approx(min(1.0, 2 * min(more, less)))


def test_three_seeds_exclude_none_by_t_and_by_no_sign_flip():
    assert paired([0.20, 0.21, 0.22]).t.excludes(0.0)
    assert paired([0.20, 0.21, 0.22]).test.p == 0.25


def test_holm_as_r_computes_it():
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert holm([0.03, math.nan, 0.01]) == pytest.approx([0.03, math.nan, 0.02], nan_ok=True)
    assert math.isnan(holm([math.nan])[0])


@given(st.lists(shares, min_size=1, max_size=12))
def test_holm_as_statsmodels_computes_it(p_values):
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-12)


def test_correlation_of_efrons_law_schools():
    found = correlation(LSAT, GPA, over="schools")
    assert found.r.estimate == pytest.approx(0.776, abs=5e-4)
    assert ends(found.r) == pytest.approx((0.46, 0.96), abs=0.02)
    assert (found.r.n, found.r.over, found.test.exact) == (15, "schools", False)
    assert found.test.p < 0.01


def test_correlation_of_the_papers_figure_3():
    found = correlation(*FIGURE_3)
    assert found.r.estimate == pytest.approx(0.979, abs=5e-4)
    assert found.test.p == found.test.smallest_p == 2 / math.factorial(5)
    assert correlation(*FIGURE_3, ranks=True).r.estimate == pytest.approx(1.0)


def test_correlation_is_scipys_and_moves_with_neither_shift_nor_scale():
    rng = np.random.default_rng(1)
    x = rng.normal(size=12)
    y = x + 0.7 * rng.normal(size=12)
    found = correlation(x, y)
    assert found.r.estimate == pytest.approx(stats.pearsonr(x, y).statistic)
    assert -1 <= found.r.low < found.r.estimate < found.r.high <= 1
    assert correlation(10 * x + 3, y - 5).r.low == pytest.approx(found.r.low)
    assert ends(correlation(x, -y).r) == pytest.approx((-found.r.high, -found.r.low), abs=0.02)
    ties = np.round(x)
    assert correlation(ties, y, ranks=True).r.estimate == pytest.approx(stats.spearmanr(ties, y).statistic)


def test_the_bootstrap_of_a_correlation_is_the_plain_one():
    """Against a loop over resamples that calls numpy."""
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=8), rng.normal(size=8)
    picks = np.random.default_rng(0).integers(8, size=(9999, 8))
    loop = [np.corrcoef(x[pick], y[pick])[0, 1] for pick in picks[:2000]]
    assert ends(correlation(x, y).r) == pytest.approx(tuple(np.quantile(loop, [0.025, 0.975])), abs=0.05)


@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["rising", "falling"])
def test_points_on_a_line_leave_no_doubt(sign):
    x = np.array([0.1, 0.2, 0.4, 0.5, 0.9])
    y = sign * (2 * x + 1)
    assert [correlation(x, y).r.estimate, *ends(correlation(x, y).r)] == pytest.approx([sign] * 3)
    line = regression(x, y, at=[0.0, 1.0])
    assert [line.slope.estimate, *ends(line.slope)] == pytest.approx([2 * sign] * 3)
    assert [line.intercept.estimate, *ends(line.intercept)] == pytest.approx([sign] * 3)
    for band in (line.y, line.low, line.high):
        assert band.tolist() == pytest.approx([sign, 3 * sign])


def test_the_regression_is_least_squares_with_a_band_around_it():
    x, y = FIGURE_3
    line = regression(x, y, at=np.linspace(0.28, 0.45, 5))
    assert [line.slope.estimate, line.intercept.estimate] == pytest.approx(np.polyfit(x, y, 1))
    assert line.y == pytest.approx(np.polyval(np.polyfit(x, y, 1), line.x))
    assert line.slope.low < line.slope.estimate < line.slope.high
    assert (line.low <= line.y).all()
    assert (line.y <= line.high).all()


def test_the_band_is_that_of_scipys_line_through_every_resample():
    """Two values of y are equal, so some resamples have a level line, and such a one is a line."""
    x, y = np.array([0.1, 0.2, 0.4, 0.5]), np.array([0.3, 0.3, 0.9, 0.7])
    picks = np.sort(np.random.default_rng(0).integers(4, size=(9999, 4)), axis=-1)
    different, times = np.unique(picks[np.ptp(picks, axis=-1) > 0], axis=0, return_counts=True)
    lines = [stats.linregress(x[pick], y[pick]) for pick in different]
    found = regression(x, y, at=[0.3])
    for interval, name in ((found.slope, "slope"), (found.intercept, "intercept")):
        drawn = np.repeat([getattr(line, name) for line in lines], times)
        assert ends(interval) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))
        assert interval.estimate == pytest.approx(getattr(stats.linregress(x, y), name))
    assert 0.0 in [line.slope for line in lines]


def test_two_pairs_have_a_correlation_without_an_interval():
    found = correlation([0.1, 0.2], [0.5, 0.6])
    assert (found.r.estimate, found.test.p, found.test.smallest_p) == pytest.approx((1.0, 1.0, 1.0))
    assert math.isnan(found.r.low)


def test_what_does_not_vary_is_refused():
    with pytest.raises(ValueError, match="correlate with nothing"):
        correlation([0.1, 0.2, 0.3], [0.5, 0.5, 0.5])
    with pytest.raises(ValueError, match="same x"):
        regression([0.5, 0.5], [0.1, 0.2], at=[0.0])


@pytest.mark.parametrize("between", [0.0, 0.03], ids=["seeds alike", "seeds differ"])
def test_the_spread_of_simulated_seeds_comes_apart(between):
    rng = np.random.default_rng(0)
    true = np.clip(rng.normal(0.8, between, size=4000), 0, 1)
    found = spread(rng.binomial(500, true) / 500, n=500)
    assert found.test_std == pytest.approx(math.sqrt(0.8 * 0.2 / 500), rel=0.01)
    assert found.seed_std == pytest.approx(math.hypot(between, found.test_std), rel=0.05)
    assert found.beyond_std == pytest.approx(between, abs=0.004)


def test_one_seed_has_test_noise_alone():
    found = spread([0.5], n=100)
    assert (found.test_std, found.seeds, found.n) == (0.05, 1, 100)
    assert math.isnan(found.seed_std)
    assert math.isnan(found.beyond_std)


def test_architectures_are_averaged_before_seeds_are_compared():
    frame = pd.DataFrame({"seed": [0, 0, 0, 1], "clean_accuracy": [0.1, 0.2, 0.3, 0.6]})
    interval = over_seeds(frame, "clean_accuracy")
    assert (interval.estimate, interval.n) == (pytest.approx(0.4), 2)
