"""How many labels are wrong, and in what way: estimates from held-out predictions, without the truth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Matrix = NDArray[np.float64]

# Of the images that are predicted as a class, the share with the largest softmax that is looked at: the
# others may be of another class, as where the labels of one go to the next.
CERTAIN = 0.5
# Of the images that are predicted as a class, the share that looks least like another one: its anchors.
ANCHORS = 0.15
OTHER_ANCHORS = (0.08, 0.25)
FEWEST_ANCHORS = 10
# How far the rate may be below and above the estimate, per unit of the network's own error, measured on data
# with known truth: where networks confuse classes, the estimate is too high.
BELOW, ABOVE = 0.25, 0.1
CONFIDENCE = 1.96
# For ranking, the matrix is moved at least by this share towards that of uniform noise, of at least this
# rate.
LEAST_SMOOTHING, LEAST_RATE = 0.1, 0.01


@dataclass(frozen=True, eq=False)
class Estimate:
    """How labels came out wrong.

    rate: the fraction of wrong labels; interval: where it lies, at about 95 %.  transition: (classes,
    classes), the estimated probability that an image of class i is given the label j; the row of a class that
    is never predicted is that of the identity.  prior: (classes,), the estimated share of each true class.
    error: the share of images that the network itself gets wrong, as far as it can tell.
    unseen: classes that are predicted for too few held-out images to say anything about them.
    chance: the share of the differences between pairs of classes that sampling and the network's own errors
    explain, from 0 to 1.
    """

    rate: float
    interval: tuple[float, float]
    transition: Matrix
    prior: NDArray[np.float64]
    error: float
    unseen: tuple[int, ...]
    chance: float

    @property
    def smoothed(self) -> Matrix:
        """The transition matrix (classes, classes), moved towards that of uniform noise of the same rate by
        the share `chance` (a shrinkage estimate: James & Stein 1961), and without zeros."""
        n_classes = len(self.transition)
        rate = min(max(self.rate, LEAST_RATE), 1 - LEAST_RATE)
        uniform = np.full((n_classes, n_classes), rate / (n_classes - 1))
        np.fill_diagonal(uniform, 1 - rate)
        weight = max(self.chance, LEAST_SMOOTHING)
        return (1 - weight) * self.transition + weight * uniform


def estimate(held_out: Matrix, given: Labels) -> Estimate:
    """Estimate from the softmax (n, classes) of images that the network did not train on, and their labels.

    Of the images that are predicted as class i with most certainty, those that look least like j, by
    log f_j - log f_i, are anchors of the pair: nearly all of them are of class i and not j, so that the share
    of them with the given label j is T_ij.  A network of errors still confuses some of its anchors, which
    makes the estimate too high, and noise that falls on ambiguous images, too low: the interval is widened by
    its error.
    """
    transition, unseen = transition_by_anchors(held_out, given, ANCHORS)
    prior = np.bincount(held_out.argmax(axis=1), minlength=held_out.shape[1]) / len(given)
    rate = _rate(transition, prior)
    others = [_rate(transition_by_anchors(held_out, given, share)[0], prior) for share in OTHER_ANCHORS]
    disagreement = float((held_out.argmax(axis=1) != given).mean())
    # An image counts as right if network and label agree: (1 - error)(1 - rate), but for coincidences.
    error = 1 - min(1.0, (1 - disagreement) / max(1 - rate, 1e-9))
    sampling = CONFIDENCE * _standard_error(transition, prior, len(given))
    low = min(rate - BELOW * error, *others)
    high = max(rate + ABOVE * error, *others)
    interval = (max(0.0, low - sampling), min(1.0, high + sampling))
    return Estimate(
        rate, interval, transition, prior, error, unseen, _chance(transition, prior, len(given), error)
    )


def transition_by_anchors(held_out: Matrix, given: Labels, share: float) -> tuple[Matrix, tuple[int, ...]]:
    """The transition matrix (classes, classes) by anchors, and the classes without enough of them."""
    n_classes = held_out.shape[1]
    logs = np.log(np.maximum(held_out, 1e-12))
    predicted = held_out.argmax(axis=1)
    transition = np.eye(n_classes)
    unseen = []
    for i in range(n_classes):
        members = np.flatnonzero(predicted == i)
        if len(members) < FEWEST_ANCHORS:
            unseen.append(i)
            continue
        count = max(FEWEST_ANCHORS, round(share * len(members)))
        certain = max(count, round(CERTAIN * len(members)))
        members = members[np.argsort(-held_out[members, i], kind="stable")[:certain]]
        order = np.argsort(logs[members] - logs[members, i : i + 1], axis=0, kind="stable")[:count]
        labels = given[members[order]]
        row = (labels == np.arange(n_classes)).mean(axis=0)
        row[i] = 0
        # The anchors of each pair are other images: the shares may sum to more than 1.
        row /= max(1.0, row.sum())
        row[i] = 1 - row.sum()
        transition[i] = row
    return transition, tuple(unseen)


def _rate(transition: Matrix, prior: NDArray[np.float64]) -> float:
    return float(prior @ (1 - transition.diagonal()))


def _chance(transition: Matrix, prior: NDArray[np.float64], n: int, error: float) -> float:
    """The variance that the estimated flip rates of pairs of classes would have if all true rates were equal,
    as a share of the variance that they have.

    It has two causes: each rate is estimated from few anchors, and the network itself takes images of each
    class for one other class, which adds BELOW · error to the rate of that pair.
    """
    n_others = len(prior) - 1
    rates = transition[~np.eye(len(prior), dtype=np.bool_)]
    anchors = np.repeat(np.maximum(ANCHORS * prior * n, FEWEST_ANCHORS), n_others)
    sampling = (rates.mean() * (1 - rates.mean()) / anchors).mean()
    confusion = (BELOW * error) ** 2 * (1 - 1 / n_others) / n_others
    return float(min(1, (sampling + confusion) / max(rates.var(), 1e-12)))


def _standard_error(transition: Matrix, prior: NDArray[np.float64], n: int) -> float:
    """Of the rate, from the number of anchors; half an anchor more counts as wrong, for rates of 0."""
    anchors = np.maximum(ANCHORS * prior * n, 1)
    wrong = (anchors * (1 - transition.diagonal()) + 0.5) / (anchors + 1)
    return float(np.sqrt((prior**2 * wrong * (1 - wrong) / anchors).sum()))
