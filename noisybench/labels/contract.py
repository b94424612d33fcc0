"""The contract of noises, as checks of a definition on digits: for `noisybench check` and the tests."""

import time
from collections.abc import Callable, Iterator

import numpy as np

from noisybench import datasets
from noisybench.labels.drawing import Corruption, realised_rate, realised_transition
from noisybench.labels.noise import CleanData, Noise
from noisybench.seeding import generator

RATES = (0.2, 0.4)
SEEDS = 20

Finding = tuple[bool | None, str]


def noise_checks(noise: Noise) -> Iterator[tuple[str, Callable[[], Finding]]]:
    """Each fact to check, and the function that checks it: whether it holds (None: for information only), and
    what was found."""
    data = CleanData.of(datasets.load("digits"), {})
    mode = noise.draws[0]

    def drawn(rate: float, seed: int) -> Corruption:
        return noise.draw(data, rate, mode, lambda name: generator(seed, name))

    def labels_are_classes() -> Finding:
        for rate in (0.0, *RATES, 0.99):
            given = drawn(rate, 0).given
            if given.shape != data.labels.shape or given.dtype != np.int64:
                return False, f"given is {given.dtype} {given.shape}, not int64 {data.labels.shape}"
            if given.min() < 0 or given.max() >= len(data.classes):
                return False, f"labels from {given.min()} to {given.max()} at rate {rate}"
        return True, f"int64, 0 to {len(data.classes) - 1}"

    def clean_labels_stay() -> Finding:
        before = data.labels.copy()
        drawn(RATES[-1], 0)
        return bool(np.array_equal(before, data.labels)), "the clean labels are not written to"

    def same_seed() -> Finding:
        same = drawn(RATES[-1], 0).same(drawn(RATES[-1], 0))
        return same and not drawn(RATES[-1], 0).same(drawn(RATES[-1], 1)), "other seeds draw other labels"

    def rows_are_probabilities() -> Finding:
        matrix = drawn(RATES[-1], 0).transition
        if matrix is None:
            return None, "no transition matrix"
        proper = bool((matrix >= 0).all() and np.allclose(matrix.sum(axis=1), 1))
        return proper, f"diagonal from {matrix.diagonal().min():.3f} to {matrix.diagonal().max():.3f}"

    def rate_in_expectation() -> Finding:
        """The labels of many seeds against the matrices that they were drawn with."""
        draws = [drawn(RATES[-1], seed) for seed in range(SEEDS)]
        matrices = [drawing.transition for drawing in draws if drawing.transition is not None]
        share = np.mean([realised_rate(data.labels, drawing.given) for drawing in draws])
        if len(matrices) < SEEDS or draws[0].open_set is not None:
            return None, f"{share:.3f} of the labels differ at rate {RATES[-1]}"
        n = len(data.classes)
        realised = np.mean([realised_transition(data.labels, drawing.given, n) for drawing in draws], axis=0)
        expected = np.mean(matrices, axis=0)
        each = np.bincount(data.labels, minlength=n)[:, None] * SEEDS
        spread = 6 * np.sqrt(expected * (1 - expected) / each) + 12 / each
        fits = bool((np.abs(realised - expected) <= spread).all())
        return fits, f"{share:.3f} of the labels are wrong at rate {RATES[-1]}"

    def pairing() -> Finding:
        fewer, more = (drawn(rate, 0).given != data.labels for rate in RATES)
        paired = bool((more | ~fewer).all())
        return None, "what flips at one rate flips at a higher one" if paired else "not paired"

    def cost() -> Finding:
        start = time.perf_counter()
        drawn(RATES[-1], 0)
        return None, f"{1e6 * (time.perf_counter() - start) / len(data.labels):.2f} µs an image"

    yield "labels are of the data set's classes", labels_are_classes
    yield "clean labels are left alone", clean_labels_stay
    yield "the same seed gives the same labels", same_seed
    yield "rows of the transition matrix are probabilities", rows_are_probabilities
    yield "as many labels flip as the matrix says", rate_in_expectation
    yield "pairing across rates", pairing
    yield "cost", cost
