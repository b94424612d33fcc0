"""The paired t-test, Holm's correction and the number of pairs, against references of their own."""

import statistics
import subprocess
import sys
from math import sqrt

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import integrate, special

from noisybench.reporting.significance import ALPHA, POWER, Paired, holm, paired, pairs_needed, power

ACCURACY = st.integers(0, 10_000).map(lambda correct: correct / 100)
PAIRS = st.lists(st.tuples(ACCURACY, ACCURACY), min_size=2, max_size=12)


def test_by_hand() -> None:
    """Differences 1, 2, 6: mean 3, squared deviations 4 + 1 + 9 = 14, sd √7; t = 3 / √(7/3)."""
    found = paired([10, 20, 30], [11, 22, 36])
    assert found[:4] == (3, 20, 23, 3)
    assert found.sd == pytest.approx(sqrt(7))
    # With two degrees of freedom, t has a closed form: p = 1 − t / √(2 + t²), and t(0.975) = 4.30265.
    t = 3 / sqrt(7 / 3)
    assert found.p == pytest.approx(1 - t / sqrt(2 + t**2))
    assert (found.low, found.high) == pytest.approx(
        (3 - 4.302653 * sqrt(7 / 3), 3 + 4.302653 * sqrt(7 / 3)), abs=1e-5
    )


@given(PAIRS)
def test_against_the_formula(pairs: list[tuple[float, float]]) -> None:
    first, second = zip(*pairs, strict=True)
    differences = [b - a for a, b in pairs]
    assume(len({round(d, 6) for d in differences}) > 1)
    found = paired(first, second)
    n, mean, sd = len(pairs), statistics.mean(differences), statistics.stdev(differences)
    t = mean / (sd / sqrt(n))
    # The tail of Student's t is a regularised incomplete beta function.
    assert found.p == pytest.approx(special.betainc((n - 1) / 2, 0.5, (n - 1) / (n - 1 + t**2)), abs=1e-9)
    critical = special.stdtrit(n - 1, 0.975)
    limits = (mean - critical * sd / sqrt(n), mean + critical * sd / sqrt(n))
    assert (found.low, found.high) == pytest.approx(limits, abs=1e-7)
    assert (found.n, found.mean, found.sd) == (n, pytest.approx(mean), pytest.approx(sd))
    # The interval leaves out 0 where the test rejects, and nowhere else.
    assert found.low is not None and found.high is not None and found.p is not None
    assert (found.low > 0 or found.high < 0) == (found.p < ALPHA)


@given(PAIRS)
def test_the_order_of_the_two_changes_only_signs(pairs: list[tuple[float, float]]) -> None:
    first, second = zip(*pairs, strict=True)
    found, other = paired(first, second), paired(second, first)
    assert (other.first, other.second) == (found.second, found.first)
    assert other.mean == pytest.approx(-found.mean) and other.needed == found.needed
    if found.p is not None and other.p is not None and found.low is not None:
        assert other.p == pytest.approx(found.p) and other.high == pytest.approx(-found.low)


def test_one_pair_and_differences_without_spread_have_no_test() -> None:
    assert paired([50.0], [53.0]) == Paired(1, 50, 53, 3)
    # In floating point these differences are not quite the same; scipy would warn, or find p = 1e-15.
    first = [71.1, 72.2, 73.3]
    found = paired(first, [accuracy + 0.1 for accuracy in first])
    assert (found.sd, found.low, found.high, found.p, found.needed) == (0, None, None, None, None)
    assert paired(first, first) == Paired(3, first[1], first[1], 0, sd=0)


# Holm


def test_holm_by_hand() -> None:
    """Sorted 0.01, 0.02, 0.03, 0.04: times 4, 3, 2, 1 are 0.04, 0.06, 0.06, 0.04; then never less."""
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.6]) == [1, 1] and holm([0.2]) == [0.2] and holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_what_holm_must_be(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    assert min(adjusted) == min(1, len(p_values) * min(p_values))
    for p, a in zip(p_values, adjusted, strict=True):
        for q, b in zip(p_values, adjusted, strict=True):
            assert a <= b or p > q
    # The procedure as Holm wrote it: from the smallest on, reject while p ≤ α / (tests left).
    tests_left, rejected = len(p_values), 0
    for p in sorted(p_values):
        if p * tests_left > ALPHA:
            break
        rejected, tests_left = rejected + 1, tests_left - 1
    assert sum(a <= ALPHA for a in adjusted) == rejected


# How many pairs


@pytest.mark.parametrize(("effect", "pairs"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_published_numbers_of_pairs(effect: float, pairs: int) -> None:
    """As tables of the paired t-test have them for α = 0.05, two-sided, and 80 % power."""
    assert pairs_needed(effect, 1) == pairs_needed(-3 * effect, 3) == pairs


@pytest.mark.parametrize(("n", "effect"), [(2, 0.7), (5, 1.5), (10, 0.0), (34, 0.5), (400, 0.1)])
def test_power_against_the_integral(n: int, effect: float) -> None:
    """t is beyond c where the mean is beyond c·s/√n: the normal tail, integrated over s."""
    critical = special.stdtrit(n - 1, 0.975)

    def beyond(s: float) -> float:
        log_density = (n - 2) * np.log(s) - (n - 1) * s**2 / 2
        log_norm = special.gammaln((n - 1) / 2) - np.log(2) - (n - 1) / 2 * np.log((n - 1) / 2)
        tails = special.ndtr(effect * sqrt(n) - critical * s) + special.ndtr(-effect * sqrt(n) - critical * s)
        return float(np.exp(log_density - log_norm) * tails)

    spread = 8 / sqrt(2 * n)
    value, _ = integrate.quad(beyond, max(1e-12, 1 - spread), 1 + spread + 4 / n, limit=400)
    assert power(n, effect) == pytest.approx(value, abs=1e-4)


def test_power_against_simulation() -> None:
    draws = np.random.default_rng(0).normal(0.6, 1.0, (20_000, pairs_needed(0.6, 1) or 0))
    n = draws.shape[1]
    t = draws.mean(1) / (draws.std(1, ddof=1) / sqrt(n))
    found = float((abs(t) > special.stdtrit(n - 1, 0.975)).mean())
    # The standard error of the simulation is 0.003.
    assert found == pytest.approx(power(n, 0.6), abs=0.012) and found > POWER - 0.012


@given(st.floats(0.05, 60))
def test_one_pair_less_is_too_few(effect: float) -> None:
    needed = pairs_needed(effect, 1)
    assert needed is not None and power(needed, effect) >= POWER
    assert needed == 2 or power(needed - 1, effect) < POWER


def test_too_many_pairs_are_not_counted() -> None:
    assert pairs_needed(0, 1) is None and pairs_needed(0.01, 1) is None
    # z(0.975) + z(0.8) = 2.8016: to tell this effect takes (2.8016 / 0.0285)² pairs, and two more for t.
    assert pairs_needed(0.0285, 1) == pytest.approx((2.8016 / 0.0285) ** 2 + 2, abs=2)


def test_the_command_line_does_not_wait_for_scipy() -> None:
    code = "import sys, noisybench.cli.report; sys.exit(bool({'scipy', 'pandas'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
