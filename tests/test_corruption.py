"""Drawing noisy labels: rates, reproducibility, nestedness, and measuring what was drawn."""

import hashlib
import struct
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noisybench import datasets
from noisybench.config import Config
from noisybench.inputs import corrupt, transition_of
from noisybench.labels import noise_of
from noisybench.labels.drawing import (
    corrupt_labels,
    intolerable,
    labels_sha256,
    realised_rate,
    realised_transition,
    transition_matrix,
)
from noisybench.registry import DATASETS, NOISES
from noisybench.seeding import generator

# Those whose matrix follows from the rate, and not from a file.
NAMES = [
    entry.name
    for entry in NOISES
    if noise_of(NOISES.bind(entry.name)).has_transition and "rows" not in entry.parameters
]
DRAWS = ["independent", "exact"]


def matrix(noise: str, rate: float, n_classes: int) -> np.ndarray:
    return transition_matrix(noise, rate, [str(i) for i in range(n_classes)], {})


def balanced(n: int, n_classes: int) -> np.ndarray:
    return np.arange(n, dtype=np.int64) % n_classes


def draw(labels: np.ndarray, transition: np.ndarray, seed: int = 0, draws: str = "independent") -> np.ndarray:
    return corrupt_labels(labels, transition, generator(seed, "noise"), draws)


# What is drawn


@given(
    name=st.sampled_from(NAMES),
    draws=st.sampled_from(DRAWS),
    rate=st.floats(0, 0.99),
    n_classes=st.integers(2, 12),
    seed=st.integers(0, 2**32 - 1),
)
def test_each_cell_of_the_matrix_is_realised(
    name: str, draws: str, rate: float, n_classes: int, seed: int
) -> None:
    labels = balanced(6000, n_classes)
    transition = matrix(name, rate, n_classes)
    noisy = draw(labels, transition, seed, draws)
    assert noisy.dtype == np.int64 and noisy.shape == labels.shape
    n_each = np.bincount(labels)[:, None]
    # Six standard deviations of a binomial, and some more for those of few expected flips.
    spread = 6 * np.sqrt(transition * (1 - transition) / n_each) + 12 / n_each
    assert (np.abs(realised_transition(labels, noisy, n_classes) - transition) <= spread).all()
    # What cannot happen does not.
    assert (transition[labels, noisy] > 0).all()


def test_the_true_rate_of_uniform_inclusive_is_lower() -> None:
    labels = balanced(100_000, 10)
    rate = realised_rate(labels, draw(labels, matrix("uniform-inclusive", 0.5, 10)))
    assert rate == pytest.approx(0.45, abs=6 * (0.45 * 0.55 / 100_000) ** 0.5)


@given(
    name=st.sampled_from(NAMES),
    rate=st.floats(0, 0.999),
    labels=st.lists(st.integers(0, 4), max_size=60),
    seed=st.integers(0, 99),
)
def test_exact_draws_flip_an_exact_number_of_each_class(
    name: str, rate: float, labels: list[int], seed: int
) -> None:
    clean = np.array(labels, dtype=np.int64)
    transition = matrix(name, rate, 5)
    noisy = draw(clean, transition, seed, "exact")
    for y in range(5):
        expected = (1 - transition[y, y]) * labels.count(y)
        assert abs((noisy[clean == y] != y).sum() - expected) <= 0.5


def test_exact_draws_of_a_round_number_are_that_number() -> None:
    labels = balanced(1000, 10)
    for rate in (0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8):
        noisy = draw(labels, matrix("uniform", rate, 10), draws="exact")
        assert (noisy != labels).sum() == round(1000 * rate)
        assert realised_rate(labels, noisy) == rate


@given(
    name=st.sampled_from(NAMES),
    draws=st.sampled_from(DRAWS),
    rates=st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)).map(sorted),
    seed=st.integers(0, 99),
)
def test_what_flips_at_one_rate_flips_at_a_higher_one(
    name: str, draws: str, rates: list[float], seed: int
) -> None:
    labels = balanced(300, 6)
    fewer, more = (draw(labels, matrix(name, rate, 6), seed, draws) != labels for rate in rates)
    assert (more | ~fewer).all()


@pytest.mark.parametrize("draws", DRAWS)
def test_seeds_differ_and_the_clean_labels_are_left_alone(draws: str) -> None:
    labels = balanced(1000, 10)
    transition = matrix("uniform", 0.4, 10)
    first, second = draw(labels, transition, 0, draws), draw(labels, transition, 1, draws)
    assert np.array_equal(first, draw(labels, transition, 0, draws))
    # Those that flip are chosen anew: 0.4² of all are expected to flip under both seeds.
    both = ((first != labels) & (second != labels)).mean()
    assert both == pytest.approx(0.16, abs=0.05)
    assert np.array_equal(labels, balanced(1000, 10))


@pytest.mark.parametrize("draws", DRAWS)
@pytest.mark.parametrize("raw", [0, 2**64 - 1])  # u = 0 and the largest u below 1
def test_the_ends_of_the_unit_interval_pick_possible_classes(draws: str, raw: int) -> None:
    # Ten tenths add up to less than 1, and the last class has no probability.
    row = np.array([0.1] * 10 + [0.0])
    assert np.cumsum(row)[-1] < 1

    for y in range(10):
        noisy = corrupt_labels(np.array([y]), np.tile(row, (11, 1)), constant(raw), draws)
        assert 0 <= noisy[0] < 10


def test_a_label_stays_only_if_its_number_is_below_the_diagonal() -> None:
    for raw, expected in [(2**63 - 2**11, 0), (2**63, 1)]:  # u just below 1/2, and u = 1/2
        noisy = corrupt_labels(np.array([0]), np.full((2, 2), 0.5), constant(raw))
        assert noisy[0] == expected


def constant(raw: int) -> np.random.Generator:
    """A generator whose raw stream is always `raw`."""

    class Constant(np.random.PCG64):
        def random_raw(self, size: int) -> np.ndarray:  # type: ignore[override]
            return np.full(size, raw, dtype=np.uint64)

    return np.random.Generator(Constant(0))


# The same labels everywhere: an independent implementation in plain Python


def plain_python(labels: list[int], rows: list[list[float]], seed: int) -> list[int]:
    """Independent draws, one sample at a time, from PCG64's raw stream."""
    stream = np.random.PCG64(np.random.SeedSequence((seed, 0, 0)))
    noisy = []
    for y in labels:
        u = (int(stream.random_raw()) >> 11) / 2**53
        others = [j for j in range(len(rows)) if j != y and rows[y][j] > 0]
        picked, edge = y, rows[y][y]
        while u >= edge and others:
            picked = others.pop(0)
            edge += rows[y][picked]
        noisy.append(picked)
    return noisy


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_labels_are_those_of_a_plain_reimplementation(name: str, seed: int) -> None:
    labels = balanced(2000, 10)
    transition = matrix(name, 0.4, 10)
    expected = plain_python(labels.tolist(), transition.tolist(), seed)
    assert draw(labels, transition, seed).tolist() == expected
    digest = hashlib.sha256(struct.pack("<2000q", *expected)).hexdigest()
    assert labels_sha256(draw(labels, transition, seed)) == digest


def test_golden_labels() -> None:
    # From `plain_python`, written down so that a change of its stream, or of seeding, shows as well.
    labels = balanced(2000, 10)
    golden = "d3966da8f5363c47224bdb31eef134ee43158e892d198c96ca2d52a4de0aacf0"
    assert labels_sha256(draw(labels, matrix("uniform", 0.4, 10), seed=0)) == golden


def test_the_uniform_numbers_are_those_of_numpy() -> None:
    labels = np.zeros(1000, dtype=np.int64)
    noisy = draw(labels, matrix("uniform", 0.4, 2), seed=5)
    assert np.array_equal(noisy == 1, generator(5, "noise").random(1000) >= 0.6)


def test_exact_draws_flip_those_of_the_largest_numbers() -> None:
    labels = balanced(600, 6)
    u = generator(5, "noise").random(600)
    flipped = draw(labels, matrix("uniform", 0.3, 6), seed=5, draws="exact") != labels
    for y in range(6):
        mine = labels == y
        assert set(u[mine & flipped]) == set(sorted(u[mine])[-30:])


def test_labels_do_not_depend_on_what_else_a_run_is() -> None:
    digits, labels = datasets.load("digits"), datasets.load("digits").train_labels
    first = corrupt(Config.create(dataset="digits", rate=0.3, seed=4), digits)
    assert np.array_equal(first.given, draw(labels, first.transition, seed=4))
    others: list[dict[str, Any]] = [{"loss": "lq"}, {"train_size": 100}, {"model": "cnn6"}, {"lr": 1.0}]
    for other in others:
        assert corrupt(Config.create(rate=0.3, seed=4, **other), digits).same(first)
    others = [{"rate": 0.31}, {"seed": 5}, {"noise": "class-dependent"}, {"draws": "exact"}]
    for other in others:
        given = {"rate": 0.3, "seed": 4, **other}
        assert not np.array_equal(corrupt(Config.create(**given), digits).given, first.given)
    assert np.array_equal(first.transition, matrix("uniform", 0.3, 10))


def test_a_data_set_with_a_fingerprint_has_the_flips_of_its_name() -> None:
    config = Config.create(dataset="cifar10@0123456789ab", noise="class-dependent", rate=0.4)
    names = DATASETS["cifar10"].metadata.classes
    assert transition_of(config)[names.index("cat"), names.index("dog")] == 0.4


# Measuring


def test_realised_rate_and_transition() -> None:
    clean, noisy = np.array([0, 0, 0, 0, 1, 1, 3]), np.array([0, 1, 1, 3, 1, 0, 3])
    assert realised_rate(clean, noisy) == 4 / 7
    expected = [[0.25, 0.5, 0, 0.25], [0.5, 0.5, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    assert realised_transition(clean, noisy, 4).tolist() == expected


def test_the_hash_is_that_of_little_endian_int64() -> None:
    expected = hashlib.sha256(bytes([1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0])).hexdigest()
    for dtype in ("<i8", ">i8", "int32"):
        assert labels_sha256(np.array([1, 256], dtype=dtype)) == expected


@given(n_classes=st.integers(2, 100), step=st.sampled_from([-1e-6, 0.0, 1e-6]))
def test_uniform_noise_is_intolerable_from_c_minus_1_over_c(n_classes: int, step: float) -> None:
    warning = intolerable(matrix("uniform", (n_classes - 1) / n_classes + step, n_classes))
    assert (warning is not None) == (step >= 0)


def test_the_warning_says_for_which_classes() -> None:
    assert intolerable(matrix("uniform-inclusive", 0.99, 10)) is None
    assert intolerable(matrix("class-dependent", 0.49, 10)) is None
    warning = intolerable(transition_matrix("class-dependent(map='1>0')", 0.5, "abc", {}))
    assert warning is not None and "For 1 of 3 classes (1) " in warning
    assert "For 10 of 10 classes (0, 1, 2, 3, 4, …)" in str(intolerable(matrix("uniform", 0.95, 10)))


# Imports


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("noisybench.labels.drawing", {"torch"}),
        ("noisybench.labels.manifest", {"torch"}),
        ("noisybench.labels.noises", {"torch", "numpy", "yaml"}),
        ("noisybench.losses", {"torch", "numpy"}),
        ("noisybench.config", {"torch", "numpy"}),
    ],
)
def test_light_modules_import_nothing_heavy(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert module in loaded.split()
    assert not absent & set(loaded.split())
