"""Tests of difference and of equivalence: between pairs, and between means of which only a summary is known.

scipy is imported where it is used: other reports need not wait for it.
"""

from bisect import bisect_left
from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import NamedTuple

ALPHA = 0.05
POWER = 0.8
MOST_PAIRS = 10_000
QUANTILES = 100

# Differences that agree to this many decimals are one difference: what is left is rounding error.
SAME = 9


class Paired(NamedTuple):
    """What is known of `n` differences, in their unit.

    first, second: the means of both sides; mean: of the differences.
    sd: sample standard deviation (n - 1).  low, high: 95 % confidence interval of the mean.  p: of the
    two-sided paired t-test.  needed: see `pairs_needed`.  All None where there is but one difference;
    of differences that are all the same, sd is 0 and the others are None.
    """

    n: int
    first: float
    second: float
    mean: float
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    needed: int | None = None


def paired(first: Sequence[float], second: Sequence[float]) -> Paired:
    """Compare values that belong together in pairs, at least one; differences are second − first."""
    differences = [b - a for a, b in zip(first, second, strict=True)]
    n, mean = len(differences), fmean(differences)
    means = (fmean(first), fmean(second), mean)
    if n == 1:
        return Paired(n, *means)
    if len({round(difference, SAME) for difference in differences}) == 1:
        return Paired(n, *means, sd=0.0)
    from scipy.stats import ttest_rel

    test = ttest_rel(second, first)
    low, high = (float(limit) for limit in test.confidence_interval(1 - ALPHA))
    sd = stdev(differences)
    return Paired(n, *means, sd, low, high, float(test.pvalue), pairs_needed(mean, sd))


def pairs_needed(mean: float, sd: float) -> int | None:
    """The fewest pairs with which a two-sided paired t-test at ALPHA has at least POWER.

    mean, sd: those of the differences, taken for the true ones; sd > 0.  None for more than MOST_PAIRS.
    """
    effect = abs(mean) / sd
    needed = 2 + bisect_left(range(2, MOST_PAIRS + 1), POWER, key=lambda n: power(n, effect))
    return needed if needed <= MOST_PAIRS else None


def power(n: int, effect: float) -> float:
    """The chance that a two-sided paired t-test of n pairs at ALPHA finds an effect of mean/sd ≥ 0.

    With true mean and sd, the test's t has a noncentral t distribution (Cohen 1988, section 2.5).
    """
    from scipy.stats import nct, t

    critical = t.isf(ALPHA / 2, n - 1)
    shift = effect * sqrt(n)
    # Where t is beyond the critical value with the wrong sign counts too: without an effect, half of all.
    return float(nct.sf(critical, n - 1, shift) + nct.sf(critical, n - 1, -shift))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p-values: any below α is significant with a family-wise error of α."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, (len(p_values) - place) * p_values[index])
        adjusted[index] = min(1.0, largest)
    return adjusted


# Published means are compared by summary.  That a test finds no difference says little, as two runs never
# suffice to find one.  So agreement is shown itself: that the means differ by less than a margin.


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


def chance_to_agree(ours: Summary, published: Summary, margin: float) -> float:
    """The chance that runs of equal true means come out as "agrees" (see `verdict`).

    The standard deviations are taken for the true ones of normal accuracies; margin: in their unit, above
    0.  Given the two sample variances, which have χ² distributions, the difference of the means is normal
    and independent of them: its chance is averaged over equally likely pairs of variances.
    """
    if ours.std == published.std == 0:
        return 1.0
    import numpy as np
    from scipy.stats import chi2, norm, t

    levels = (np.arange(QUANTILES) + 0.5) / QUANTILES
    freedoms = (ours.n - 1, published.n - 1)
    a, b = (
        side.std**2 / side.n * chi2.ppf(levels, freedom) / freedom
        for side, freedom in zip((ours, published), freedoms, strict=True)
    )
    a, b = a[:, None], b[None, :]
    error = np.sqrt(a + b)
    freedom = (a + b) ** 2 / (a**2 / freedoms[0] + b**2 / freedoms[1])
    # Equivalent by both one-sided tests, and not different by Welch's.
    largest = np.minimum(margin - t.isf(ALPHA, freedom) * error, t.isf(ALPHA / 2, freedom) * error)
    true_error = sqrt(ours.std**2 / ours.n + published.std**2 / published.n)
    return float(np.mean(np.maximum(0.0, 2 * norm.cdf(largest / true_error) - 1)))


def _p(a: Summary, b: Summary, alternative: str) -> float:
    """p-value of Welch's t-test against the alternative that a's mean is unlike, "greater" or "less"."""
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
