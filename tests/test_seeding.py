"""Random streams: reproducible, and independent of one another."""

from itertools import combinations

import numpy as np
import pytest

from noisybench.seeding import STREAMS, generator, torch_seed


def test_one_seed_and_stream_is_one_sequence() -> None:
    for stream in STREAMS:
        assert np.array_equal(generator(3, stream, 2).random(100), generator(3, stream, 2).random(100))
        assert torch_seed(3, stream) == torch_seed(3, stream)


def test_seeds_streams_and_epochs_are_independent() -> None:
    n = 4000
    keys = [(seed, stream, epoch) for seed in (0, 1) for stream in STREAMS for epoch in (0, 1)]
    draws = {key: generator(*key).standard_normal(n) for key in keys}
    for first, second in combinations(keys, 2):
        correlation = np.mean(draws[first] * draws[second])
        assert abs(correlation) < 6 / n**0.5, (first, second)


def test_torch_seeds_differ_and_fit_torch() -> None:
    seeds = [torch_seed(seed, stream) for seed in (0, 1, 2**32 - 1) for stream in STREAMS]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_numbers_of_the_streams_stay() -> None:
    # A changed number would silently change every stored run's labels, split and weights.
    first = {"noise": 0, "subset": 1, "split": 2, "initialisation": 3, "order": 4, "open_set": 5}
    later = {"second network": 6, "flip rates": 7, "instance weights": 8, "views": 9, "method": 10}
    trusted = {"trusted": 11, "trusted batches": 12}
    assert STREAMS == {**first, **later, **trusted, "search": 20}


def test_the_stream_is_pcg64_seeded_by_seed_stream_and_epoch() -> None:
    raw = np.random.PCG64(np.random.SeedSequence((7, STREAMS["split"], 5))).random_raw(10)
    assert np.array_equal(generator(7, "split", 5).bit_generator.random_raw(10), raw)


def test_an_unknown_stream_is_our_own_mistake() -> None:
    with pytest.raises(KeyError):
        generator(0, "weather")
