"""When one attack beats another: an exact test on the images that only the other one fools."""

from nrf_ray.attacks.trust import Verdict

TOLERATED = 0.01
"""Share of the images that an attack may leave to another one."""
ALARMING = 0.05
"""Share from which an attack is FAIL although it is the same attack with more effort that beats it."""
SIGNIFICANT = 0.05
"""Significance level of the test that it leaves more."""


def beaten(only_other: int, n: int, *, more_effort: bool = False) -> Verdict:
    """Return the verdict on an attack if, of `n` images, another one alone fools `only_other`.

    It is FAIL if an attack that leaves `TOLERATED` of the images leaves so many with a probability below `SIGNIFICANT`
    (exact binomial test, one-sided), and WARN if it leaves more than `TOLERATED` otherwise; one image is always
    tolerated. Of 100 images, 2 are WARN and 4 are FAIL. With `more_effort` the other one is the same attack with more
    effort, which fools a few more of any model, so FAIL begins at `ALARMING`.

    A test of which attack is the stronger would pass a masked model on which each fools what the other one does not.
    """
    from scipy.special import bdtrc  # not scipy.stats, whose import takes seconds

    if only_other <= max(1, TOLERATED * n):
        return "PASS"
    if more_effort and only_other < ALARMING * n:
        return "WARN"
    return "FAIL" if bdtrc(only_other - 1, n, TOLERATED) < SIGNIFICANT else "WARN"
