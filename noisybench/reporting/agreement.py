"""Whether two means agree, from summary statistics: a test of difference and a test of equivalence.

That a test finds no difference says little, as two runs never suffice to find one.  So agreement must be
shown itself: that the means differ by less than a margin.
"""

from typing import NamedTuple

ALPHA = 0.05


class Summary(NamedTuple):
    """Mean, sample standard deviation (n - 1) and number of runs, which must be at least 2."""

    mean: float
    std: float
    n: int


def welch_p(ours: Summary, published: Summary) -> float:
    """Two-sided p-value that the means are equal, by Welch's t-test of unequal variances (Welch 1947)."""
    return _p(ours, published, "two-sided")


def tost_p(ours: Summary, published: Summary, margin: float) -> float:
    """p-value that the means differ by `margin` or more: two one-sided tests (Schuirmann 1987), each
    Welch's, of which the larger p counts.  margin: in the unit of the means, above 0."""
    above_lower = _p(ours._replace(mean=ours.mean + margin), published, "greater")
    below_upper = _p(ours._replace(mean=ours.mean - margin), published, "less")
    return max(above_lower, below_upper)


def _p(a: Summary, b: Summary, alternative: str) -> float:
    from scipy.stats import ttest_ind_from_stats

    if a.std == b.std == 0:
        # Without spread there is no t: what is seen is certain.
        holds = {"two-sided": a.mean == b.mean, "greater": a.mean <= b.mean, "less": a.mean >= b.mean}
        return float(holds[alternative])
    return float(ttest_ind_from_stats(*a, *b, equal_var=False, alternative=alternative).pvalue)


def verdict(welch: float, tost: float) -> str:
    """What the p-values of both tests say together, at the level ALPHA."""
    if tost < ALPHA:
        return "differs, within the margin" if welch < ALPHA else "agrees"
    return "differs" if welch < ALPHA else "undecided"
