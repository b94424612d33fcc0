"""Scores in closed form, and estimates of noise whose truth is known, without training."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from noisybench import datasets
from noisybench.diagnosis.diagnose import Diagnosis, n_networks
from noisybench.diagnosis.estimate import estimate
from noisybench.diagnosis.findings import conflicts, confused_pairs, correctness
from noisybench.diagnosis.injection import Calibration, calibrate, calibrated, inject
from noisybench.diagnosis.observing import parts
from noisybench.diagnosis.scores import SCORES, Evidence, score_called
from noisybench.errors import UnknownName

NAN = np.nan


def evidence() -> Evidence:
    """Three images of two classes under two networks; each network held one image out."""
    return Evidence(
        given=np.array([0, 1, 1]),
        margin=np.array([[2.0, -1.0, NAN], [4.0, NAN, 3.0]]),
        late_loss=np.array([[0.1, 2.0, NAN], [0.3, NAN, 0.2]]),
        probability=np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8]]),
        log_probability=np.log([[0.8, 0.2], [0.5, 0.5], [0.25, 0.75]]),
        held_out=np.array([[0.6, 0.4], [0.8, 0.2], [0.5, 0.5]]),
        features=np.array([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0]], np.float32),
        transition=np.array([[0.9, 0.1], [0.4, 0.6]]),
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # The given class is 4, 1, 3 times as likely by the image, and its labels come from it 9/4 and 6
        # times as often.
        ("posterior", [np.log(4 * 9 / 4), np.log(6), np.log(3 * 6)]),
        ("margin", [3, -1, 3]),
        ("late-loss", [-0.2, -2, -0.2]),
        ("self-confidence", [0.6, 0.2, 0.5]),
        ("normalised-margin", [0.2, -0.6, 0]),
        # Of two neighbours each, those with the same label.
        ("neighbours", [0, 0.5, 0.5]),
        ("rank-average", [(2.5 + 2.5 + 3) / 9, 1 / 3, (2.5 + 2.5 + 2) / 9]),
    ],
)
def test_a_score_is_its_closed_form(name: str, expected: list[float]) -> None:
    np.testing.assert_allclose(SCORES[name].compute(evidence()), expected, atol=1e-12)


def test_an_unknown_score_is_answered_with_the_known() -> None:
    with pytest.raises(UnknownName, match="normalised-margin"):
        score_called("normalized-margin")


def simulated(
    transition: NDArray[np.float64], n: int, blur: float, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Softmax of a network that sees the true class through Gaussian noise; given and true labels."""
    random = np.random.default_rng(seed)
    n_classes = len(transition)
    true = random.integers(0, n_classes, n)
    given = (transition[true].cumsum(axis=1) < random.random((n, 1))).sum(axis=1).clip(max=n_classes - 1)
    logits = 4 * np.eye(n_classes)[true] + blur * random.standard_normal((n, n_classes))
    clean = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return clean @ transition, given, true


def uniform(rate: float, n_classes: int = 5) -> NDArray[np.float64]:
    off = rate / (n_classes - 1)
    return np.full((n_classes, n_classes), off) + (1 - rate - off) * np.eye(n_classes)


def paired(rate: float, n_classes: int = 5) -> NDArray[np.float64]:
    return (1 - rate) * np.eye(n_classes) + rate * np.roll(np.eye(n_classes), 1, axis=1)


@pytest.mark.parametrize("transition", [uniform(0), uniform(0.2), uniform(0.5), paired(0.1), paired(0.3)])
def test_the_transition_matrix_is_found_where_the_network_sees_the_classes(
    transition: NDArray[np.float64],
) -> None:
    held_out, given, true = simulated(transition, 8000, 1.0, 0)
    found = estimate(held_out, given)
    assert np.abs(found.transition - transition).max() < 0.1
    assert abs(found.rate - (given != true).mean()) < 0.03
    assert found.unseen == ()
    np.testing.assert_allclose(found.transition.sum(axis=1), 1)


def test_images_of_a_third_class_are_no_anchors() -> None:
    """Where labels go to the next class, images of the one before look least like the next."""
    held_out, given, true = simulated(paired(0.35), 8000, 2.0, 0)
    assert abs(estimate(held_out, given).rate - (given != true).mean()) < 0.05


@pytest.mark.parametrize("transition", [uniform(0.1), uniform(0.4), paired(0.2)])
@pytest.mark.parametrize("blur", [1.0, 2.0])
def test_the_interval_covers_the_rate_in_nine_of_ten(transition: NDArray[np.float64], blur: float) -> None:
    covered = 0
    for seed in range(20):
        held_out, given, true = simulated(transition, 1000, blur, seed)
        low, high = estimate(held_out, given).interval
        covered += low <= (given != true).mean() <= high
    assert covered >= 18


def test_a_class_that_is_never_predicted_is_named_and_left_out() -> None:
    held_out, given, _ = simulated(uniform(0.2), 2000, 1.0, 0)
    given = np.where(given == 3, 1, given)
    held_out[:, 3] = 0
    found = estimate(held_out, given)
    assert found.unseen == (3,) and found.prior[3] == 0
    assert found.transition[3].tolist() == [0, 0, 0, 1, 0]


def test_parts_hold_out_each_image_once_where_there_is_a_network_a_fold() -> None:
    planned = parts(103, 5, 5, np.zeros(103, np.int64), seed=0)
    assert sorted(np.concatenate([part.outside for part in planned])) == list(range(103))
    assert all(sorted([*part.inside, *part.outside]) == list(range(103)) for part in planned)


def test_a_score_of_held_out_images_has_a_network_a_fold() -> None:
    counts = [n_networks(SCORES[name], 2, 5) for name in ("posterior", "self-confidence")]
    assert counts == [2, 5] and n_networks(SCORES["posterior"], None, 5) == 5


@pytest.mark.parametrize(("transition", "least", "most"), [(uniform(0.3), 0.4, 1), (paired(0.3), 0, 0.15)])
def test_differences_of_pairs_are_believed_as_far_as_chance_makes_none(
    transition: NDArray[np.float64], least: float, most: float
) -> None:
    held_out, given, _ = simulated(transition, 8000, 1.0, 0)
    found = estimate(held_out, given)
    assert least <= found.chance <= most
    assert (found.smoothed > 0).all()
    np.testing.assert_allclose(found.smoothed.sum(axis=1), 1)
    assert np.abs(found.smoothed - transition).max() < 0.1


def test_labels_that_no_class_of_the_image_is_given_are_trusted() -> None:
    """Under noise that takes each class to the next, a doubt between other classes is no sign of it."""
    held_out, given, true = simulated(paired(0.3), 4000, 2.0, 0)
    wrong, logs = given != true, np.log(held_out)
    places = np.arange(len(given))
    others = logs.copy()
    others[places, given] = -np.inf
    seen = replace(
        evidence(),
        given=given,
        margin=(logs[places, given] - others.max(axis=1))[None],
        log_probability=logs,
        transition=estimate(held_out, given).smoothed,
    )
    found = [
        wrong[np.argsort(SCORES[name].compute(seen))[: wrong.sum()]].mean()
        for name in ("posterior", "margin")
    ]
    assert found[0] > found[1] + 0.05


def test_injected_labels_follow_the_matrix_and_touch_only_what_is_allowed() -> None:
    given = np.random.default_rng(0).integers(0, 5, 5000)
    part = parts(5000, 5, 2, given, seed=0)[1]
    allowed = np.arange(0, 5000, 2)
    flips = paired(0.3)
    flips[4] = np.eye(5)[4]
    injected = inject(part, allowed, given, flips, seed=0)
    changed = np.flatnonzero(injected.labels != given)
    assert set(changed) == set(injected.injected) <= set(allowed) & set(part.inside)
    # Nearly all go to the next class, and nearly none are of the class that is never mislabelled.
    assert (injected.labels[changed] == (given[changed] + 1) % 5).mean() > 0.95
    assert (given[changed] == 4).mean() < 0.05


def test_what_is_found_of_injected_labels_corrects_the_rate() -> None:
    random = np.random.default_rng(0)
    wrong = random.random(20_000) < 0.2
    scores = np.where(wrong, -2.0, 2.0) + random.standard_normal(20_000)
    injected = random.random(20_000) < 0.05
    calibration = calibrate([(np.where(injected, -2 + random.standard_normal(20_000), scores), injected)])
    assert calibration.rate == pytest.approx(0.2, abs=0.01)
    assert calibration.recall_at(0.2) > 0.9
    held_out, given, _ = simulated(uniform(0.2), 4000, 2.0, 0)
    anchors = estimate(held_out, given)
    found = calibrated(anchors, calibration, 4000)
    assert min(anchors.rate, calibration.rate) <= found.rate <= max(anchors.rate, calibration.rate)
    assert found.interval[0] < 0.2 < found.interval[1]
    assert found.interval[1] - found.interval[0] < anchors.interval[1] - anchors.interval[0]


def test_scores_with_few_values_are_calibrated_as_others() -> None:
    """Where many labels share the lowest score, a cut within them finds a part of what they hold."""
    random = np.random.default_rng(0)
    wrong, injected = random.random(20_000) < 0.2, random.random(20_000) < 0.05
    scores = np.where(wrong | injected, -2.0, 2.0) + random.standard_normal(20_000)
    fine, coarse = (calibrate([(values, injected)]) for values in (scores, np.maximum(scores, -1.5).round()))
    assert coarse.rate == pytest.approx(fine.rate, abs=0.02)
    np.testing.assert_allclose(coarse.recall[25:], fine.recall[25:], atol=0.03)


def test_a_handful_of_injected_labels_corrects_nothing() -> None:
    held_out, given, _ = simulated(uniform(0.2), 4000, 2.0, 0)
    anchors = estimate(held_out, given)
    found = calibrated(anchors, Calibration(3, (0.0, *[1.0] * 100)), 4000)
    assert found.rate == pytest.approx(anchors.rate)
    assert found.interval[0] <= anchors.interval[0] and found.interval[1] >= anchors.interval[1]


def test_what_is_expected_of_a_longer_list_is_more_and_no_more_often_right() -> None:
    recall = [0, 0.01, *np.linspace(0.05, 1, 30), *[1] * 69]
    expected = np.array(Calibration(100, tuple(recall)).recalls(0.2))
    assert (np.diff(expected) >= -1e-9).all() and expected[0] == 0 and expected[-1] == pytest.approx(1)
    precision = expected[1:] * 0.2 / (np.arange(1, 101) / 100)
    assert (np.diff(precision) <= 1e-9).all() and precision[0] <= 1


def test_a_ranking_that_finds_nothing_changes_nothing() -> None:
    held_out, given, _ = simulated(uniform(0.2), 2000, 1.0, 0)
    anchors = estimate(held_out, given)
    nothing = Calibration(100, (0.0,) * 100 + (1.0,))
    assert calibrated(anchors, nothing, 2000).rate == pytest.approx(anchors.rate)


def diagnosed(transition: NDArray[np.float64], n: int = 2000) -> tuple[Diagnosis, NDArray[np.int64]]:
    """A diagnosis whose scores are the held-out margins of a simulated network, and the true labels."""
    held_out, given, true = simulated(transition, n, 1.0, 0)
    scores = held_out[np.arange(n), given] - held_out.max(axis=1)
    nothing = Calibration(0, (0.0,) * 101)
    found = Diagnosis(
        np.arange(n), given, scores, held_out.argmax(axis=1), held_out, estimate(held_out, given), nothing, ()
    )
    return found, true


def test_the_pairs_confused_most_are_those_of_the_matrix() -> None:
    pairs = confused_pairs(diagnosed(paired(0.3))[0], most=5)
    assert {(pair.true, pair.given) for pair in pairs} == {(c, (c + 1) % 5) for c in range(5)}
    assert sum(pair.count for pair in pairs) == pytest.approx(0.3 * 2000, rel=0.2)


def test_correctness_counts_only_labels_whose_truth_is_known() -> None:
    found, true = diagnosed(uniform(0.3))
    wrong = int((true != found.given).sum())
    known = correctness(found, np.where(np.arange(2000) < 1000, true, -2))
    everything = correctness(found, true)
    assert everything is not None and (everything.n, everything.n_wrong) == (2000, wrong)
    assert everything.precision > 0.9 and everything.average_precision > 0.9
    assert known is not None and known.n == 1000 and known.n_wrong < wrong
    assert correctness(found, found.given) is None


def test_an_image_with_two_labels_is_a_conflict() -> None:
    dataset = datasets.load("digits")
    rows, given = np.array([0, 1, 0, 2, 2]), np.array([3, 4, 5, 6, 6])
    assert conflicts(dataset, rows, given).tolist() == [True, False, True, False, False]
