"""Tests of difference and of equivalence against their formulas."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from noisybench.reporting.significance import ALPHA, Summary, chance_to_agree, tost_p, verdict, welch_p

SUMMARY = st.builds(Summary, st.floats(10, 90), st.floats(0.01, 8), st.integers(2, 30))
MARGIN = st.floats(0.01, 20)
RUNS = 2_000


def by_hand(a: Summary, b: Summary) -> tuple[float, float]:
    """Standard error of the difference, and degrees of freedom after Welch and Satterthwaite."""
    va, vb = a.std**2 / a.n, b.std**2 / b.n
    return math.sqrt(va + vb), (va + vb) ** 2 / (va**2 / (a.n - 1) + vb**2 / (b.n - 1))


@given(SUMMARY, SUMMARY)
def test_welch_is_its_formula(ours: Summary, published: Summary) -> None:
    error, freedom = by_hand(ours, published)
    expected = 2 * t.sf(abs(ours.mean - published.mean) / error, freedom)
    assert welch_p(ours, published) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(SUMMARY, SUMMARY, MARGIN)
def test_tost_is_the_larger_of_two_one_sided_tests(ours: Summary, published: Summary, margin: float) -> None:
    error, freedom = by_hand(ours, published)
    difference = ours.mean - published.mean
    expected = t.sf((margin - abs(difference)) / error, freedom)
    assert tost_p(ours, published, margin) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_welch_of_samples_that_can_be_followed_by_hand() -> None:
    # Samples 1, 2, 3 and 2, 4, 6, 8, 10: variances 1 and 10, so t = -4 / sqrt(1/3 + 2) = -2.6186 on
    # (7/3)² / (1/18 + 1) = 5.1579 degrees of freedom.
    ours, published = Summary(2, 1, 3), Summary(6, math.sqrt(10), 5)
    error, freedom = by_hand(ours, published)
    assert (-4 / error, freedom) == (pytest.approx(-2.6186, abs=1e-4), pytest.approx(98 / 19))
    assert welch_p(ours, published) == pytest.approx(2 * t.cdf(-2.6186147, 98 / 19), rel=1e-6)


def test_welch_at_a_tabulated_quantile() -> None:
    # Equal variances and n = 5 leave 8 degrees of freedom, whose two-sided 5 % quantile is 2.306.
    error = math.sqrt(2 * 1 / 5)
    assert welch_p(Summary(50 + 2.3060 * error, 1, 5), Summary(50, 1, 5)) == pytest.approx(0.05, abs=1e-5)
    # The one-sided 5 % quantile is 1.860: means that coincide are equivalent from that margin on.
    assert tost_p(Summary(50, 1, 5), Summary(50, 1, 5), 1.8595 * error) == pytest.approx(0.05, abs=1e-5)


@given(SUMMARY)
def test_what_is_the_same_does_not_differ(summary: Summary) -> None:
    assert welch_p(summary, summary) == 1


@given(SUMMARY, SUMMARY, MARGIN, MARGIN)
def test_a_wider_margin_makes_equivalence_easier(a: Summary, b: Summary, one: float, two: float) -> None:
    assert tost_p(a, b, min(one, two)) >= tost_p(a, b, max(one, two)) - 1e-12


@given(SUMMARY, SUMMARY, MARGIN)
def test_the_order_of_the_two_does_not_matter(a: Summary, b: Summary, margin: float) -> None:
    assert welch_p(a, b) == pytest.approx(welch_p(b, a))
    assert tost_p(a, b, margin) == pytest.approx(tost_p(b, a, margin), abs=1e-12)


@given(SUMMARY, SUMMARY, MARGIN)
def test_what_differs_by_the_margin_or_more_never_agrees(a: Summary, b: Summary, margin: float) -> None:
    if abs(a.mean - b.mean) >= margin:
        assert tost_p(a, b, margin) >= 0.5 - 1e-9


def test_without_any_spread_what_is_seen_is_certain() -> None:
    same, near, far = Summary(50, 0, 2), Summary(50.5, 0, 2), Summary(52, 0, 5)
    assert (welch_p(same, same), welch_p(same, near)) == (1, 0)
    assert (tost_p(same, near, 1), tost_p(same, far, 1), tost_p(far, same, 1)) == (0, 1, 1)


@pytest.mark.parametrize(
    ("welch", "tost", "said"),
    [
        (0.5, 0.01, "agrees"),
        (0.01, 0.5, "differs"),
        (0.01, 0.01, "differs, within the margin"),
        (0.5, 0.5, "undecided"),
        (ALPHA, ALPHA, "undecided"),
    ],
)
def test_a_verdict_needs_a_test_that_rejects(welch: float, tost: float, said: str) -> None:
    assert verdict(welch, tost) == said


@pytest.mark.parametrize(
    ("ours", "published"),
    [(Summary(0, sd, 5), Summary(0, sd, 5)) for sd in (0.3, 0.5, 0.8, 1.0)]
    + [(Summary(0, 0.4, 3), Summary(0, 0.7, 5)), (Summary(0, 0.5, 5), Summary(0, 0.0, 5))],
)
def test_the_chance_to_agree_is_that_of_simulated_runs(ours: Summary, published: Summary) -> None:
    random = np.random.default_rng(0)
    agreed = 0
    for _ in range(RUNS):
        drawn = (random.normal(side.mean, side.std, side.n) for side in (ours, published))
        seen = [Summary(float(x.mean()), float(x.std(ddof=1)), len(x)) for x in drawn]
        error, freedom = by_hand(*seen)
        difference = abs(seen[0].mean - seen[1].mean)
        equivalent = (1 - difference) / error > t.isf(ALPHA, freedom)
        agreed += equivalent and difference / error < t.isf(ALPHA / 2, freedom)
    # Four standard errors of the simulated share.
    assert chance_to_agree(ours, published, 1) == pytest.approx(
        agreed / RUNS, abs=2 / math.sqrt(RUNS) + 0.002
    )


@given(SUMMARY, SUMMARY, MARGIN, MARGIN)
def test_a_wider_margin_makes_agreement_likelier(a: Summary, b: Summary, one: float, two: float) -> None:
    narrow, wide = (chance_to_agree(a, b, margin) for margin in sorted((one, two)))
    assert 0 <= narrow <= wide + 1e-12 and wide <= 1
