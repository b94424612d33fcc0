"""Instance-dependent noise: its closed form, rates, pairing across rates, and what it is refused with."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import as_json, noisybench, succeed
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from noisybench import datasets
from noisybench.config import Config
from noisybench.errors import InvalidValue
from noisybench.inputs import corrupt, transition_of
from noisybench.labels import CleanData, noise_of
from noisybench.labels.drawing import Corruption, realised_transition
from noisybench.labels.instance_dependent import class_weights, flip_rates, target_shares
from noisybench.labels.manifest import Manifest
from noisybench.registry import NOISES
from noisybench.seeding import generator, uniform_numbers

NOISE = "instance-dependent"
CLASSES = tuple("abcd")


def drawn(images: Any, labels: Any, rate: float, seed: int = 0) -> Corruption:
    data = CleanData(images, labels, CLASSES, {})
    return noise_of(NOISES.bind(NOISE)).draw(data, rate, "independent", lambda name: generator(seed, name))


def pictures(n: int) -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (n, 3, 3, 1)).astype(np.uint8)
    return images, random.integers(0, len(CLASSES), n)


def test_the_flip_rates_are_those_of_the_truncated_normal_distribution() -> None:
    u = np.linspace(0, 1, 101)[:-1]
    for rate in (0.05, 0.3, 0.5, 0.95):
        expected = stats.truncnorm(-rate / 0.1, (1 - rate) / 0.1, loc=rate, scale=0.1).ppf(u)
        np.testing.assert_allclose(flip_rates(u, rate), expected, atol=1e-9)


def test_the_probabilities_of_one_sample_in_closed_form() -> None:
    image = np.array([[[[0], [255]]]], dtype=np.uint8)
    weights = np.array([[9.0, 9.0, 9.0, 9.0], [5.0, 0.0, np.log(2), np.log(5)]])
    np.testing.assert_allclose(target_shares(image, 0, weights), [[0, 1 / 8, 2 / 8, 5 / 8]])


def test_a_plain_implementation_draws_the_same_labels() -> None:
    """One image at a time, with the normal distributions of scipy.stats."""
    images, labels = pictures(300)
    q = stats.truncnorm(-3, 7, loc=0.3, scale=0.1).ppf(uniform_numbers(generator(5, "flip rates"), 300))
    stream = generator(5, "instance weights")
    weights = [stats.norm.ppf(uniform_numbers(stream, 9 * 4)).reshape(9, 4) for _ in range(4)]
    u = uniform_numbers(generator(5, "noise"), 600)
    for i, given_label in enumerate(drawn(images, labels, 0.3, seed=5).given):
        y = labels[i]
        others = [j for j in range(4) if j != y]
        powers = np.exp([(images[i].ravel() / 255) @ weights[y][:, j] for j in others])
        reached = np.cumsum(powers / powers.sum()) > u[300 + i]
        assert given_label == (y if u[i] < 1 - q[i] else others[int(np.argmax(reached))])


@settings(max_examples=15)
@given(rate=st.floats(0, 0.99), seed=st.integers(0, 2**32 - 1))
def test_as_many_labels_flip_as_the_distribution_says(rate: float, seed: int) -> None:
    images, labels = pictures(20_000)
    corruption = drawn(images, labels, rate, seed)
    if rate == 0:
        assert np.array_equal(corruption.given, labels)
        return
    expected = stats.truncnorm(-rate / 0.1, (1 - rate) / 0.1, loc=rate, scale=0.1).mean()
    flipped = corruption.given != labels
    assert abs(flipped.mean() - expected) < 6 * np.sqrt(0.25 / 20_000)
    assert corruption.transition is not None
    realised = realised_transition(labels, corruption.given, 4)
    assert np.abs(realised - corruption.transition).max() < 6 * np.sqrt(0.25 / 4500)
    np.testing.assert_allclose(corruption.transition.sum(axis=1), 1)


def test_copies_of_an_image_flip_alike_and_other_images_otherwise() -> None:
    images = np.zeros((20_000, 3, 3, 1), np.uint8)
    images[::2] = 255
    given_labels = drawn(images, np.ones(20_000, np.int64), 0.5).given
    dark, bright = given_labels[1::2], given_labels[::2]
    shares = [np.bincount(part[part != 1], minlength=4) / (part != 1).sum() for part in (dark, bright)]
    # A black image has the same score for all classes.
    assert np.abs(shares[0] - [1 / 3, 0, 1 / 3, 1 / 3]).max() < 6 * np.sqrt(0.25 / 4500)
    weights = list(class_weights(generator(0, "instance weights"), 9, 4))[1]
    expected = target_shares(images[:1], 1, weights)[0]
    assert np.abs(shares[1] - expected).max() < 6 * np.sqrt(0.25 / 4500)
    assert np.abs(expected - shares[0]).max() > 0.3


@settings(max_examples=25)
@given(rates=st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)).map(sorted), seed=st.integers(0, 99))
def test_what_flips_at_one_rate_flips_alike_at_a_higher_one(rates: list[float], seed: int) -> None:
    images, labels = pictures(500)
    fewer, more = (drawn(images, labels, rate, seed).given for rate in rates)
    flipped = fewer != labels
    assert np.array_equal(more[flipped], fewer[flipped])


def test_golden_labels() -> None:
    config = Config.create(dataset="digits", noise=NOISE, rate=0.4, seed=0)
    golden = "2541e654de4e"
    assert corrupt(config, datasets.load("digits")).sha256.startswith(golden)


def test_what_is_refused() -> None:
    with pytest.raises(InvalidValue, match="forward-that"):
        Config.create(noise=NOISE, loss="forward-t")
    with pytest.raises(InvalidValue, match="independent"):
        Config.create(noise=NOISE, draws="exact")
    assert transition_of(Config.create(noise=NOISE)) is None


def test_it_is_drawn_trained_swept_and_reported(tmp_path: Path, database: Path) -> None:
    file = tmp_path / "labels.npz"
    options = ("--noise", NOISE, "--rate", 0.4, "--seed", 1)
    said = as_json("corrupt", *options, "--out", file)
    manifest = Manifest.read(file)
    assert said["realised_rate"] == (manifest.clean != manifest.noisy).mean()
    assert np.diag(said["transition_matrix"]) == pytest.approx(np.full(10, 0.6), abs=0.05)
    brief = ("--epochs", 1, "--quiet")
    run = as_json("train", "--labels", file, *brief)["run"]
    assert as_json("train", *options, *brief)["run"] == run
    assert noisybench("train", *options, *brief, "--loss", "forward-that").exit_code == 0
    shown = succeed("runs", "show", run)
    assert NOISE in shown
    experiment = tmp_path / "sweep.yaml"
    experiment.write_text(f"set: {{noise: {NOISE}, epochs: 1}}\ngrid: [{{loss: [cce, lq], seed: [1]}}]\n")
    succeed("sweep", experiment, "--quiet")
    table = succeed("report")
    assert NOISE in table and "lq" in table
