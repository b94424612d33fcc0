"""Labels made wrong on purpose, in the way that the data set's own seem to be: what a ranking finds of them
tells what it finds of the others."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from noisybench.diagnosis.estimate import CONFIDENCE, Estimate
from noisybench.diagnosis.observing import Labels, Part

SHARE = 0.05
# Of the injected labels, how many a cut must find to be counted on.
ENOUGH = 0.3
FEW_INJECTED = 10
# How far real wrong labels may be harder or easier to find than injected ones, as a share of the rate.
SIMILARITY = 0.1
# As much of the injected noise is uniform: an estimate without noise has no kind.
UNIFORM = 0.01


def inject(part: Part, allowed: Labels, believed: Labels, transition: NDArray[np.float64], seed: int) -> Part:
    """The part with SHARE of its training labels replaced by others, by the estimated transition matrix.

    allowed: places of images that may get another label.  believed: (n,), the class that each image seems to
    be of.  Images of the classes that are mislabelled more often are chosen more often.
    """
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, 1))))
    flips = transition + UNIFORM / len(transition)
    np.fill_diagonal(flips, 0)
    candidates = np.intersect1d(part.inside, allowed)
    # Where label and network disagree the label may be wrong, and another one right.
    candidates = candidates[believed[candidates] == part.labels[candidates]]
    chances = flips[believed[candidates]].sum(axis=1)
    count = max(1, round(SHARE * len(candidates)))
    chosen = random.choice(candidates, count, replace=False, p=chances / chances.sum())
    edges = flips[believed[chosen]].cumsum(axis=1)
    drawn = (edges < random.random(count)[:, None] * edges[:, -1:]).sum(axis=1)
    labels = part.labels.copy()
    labels[chosen] = drawn
    return replace(part, labels=labels, injected=np.sort(chosen))


@dataclass(frozen=True)
class Calibration:
    """What a ranking finds of injected wrong labels.

    n: their number.  recall: (101,), of them, the share found where 0, 1, … 100 % of the other labels
    are flagged.
    """

    n: int
    recall: tuple[float, ...]

    def recall_at(self, share: float) -> float:
        """The share of injected labels found where this share of the others is flagged."""
        return float(np.interp(100 * share, np.arange(101), self.recall))

    def recalls(self, rate: float) -> list[float]:
        """The share of all wrong labels expected among the worst 0, 1, … 100 %, (101,), at this rate of them.

        The first labels of a ranking are wrong at least as often as those that follow.
        """
        shares = np.maximum(np.arange(101) / 100, 1e-9)
        precision = np.minimum(1, np.array(self.recall) * rate / shares)
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        found = np.minimum(1, precision * shares / max(rate, 1e-9))
        return [0.0, *found[1:].tolist()]

    @property
    def rate(self) -> float:
        """An estimate of the rate of wrong labels: if they score as the injected ones do, each cut flags at
        least rate times recall of all labels."""
        shares = np.arange(101) / 100
        enough = np.array(self.recall) >= ENOUGH
        return float((shares[enough] / np.array(self.recall)[enough]).min())


def calibrated(anchors: Estimate, calibration: Calibration, n: int) -> Estimate:
    """The estimate by anchors, corrected by what the ranking finds of injected labels.

    The better the ranking finds these, the more it counts beside the anchors, and the more their interval
    shrinks: by the square of its recall, unless there are fewer than FEW_INJECTED.  Where wrong labels are
    learnt by heart the ranking says little.
    n: labels that are diagnosed.
    """
    recall = calibration.recall_at(anchors.rate)
    weight = recall**2 if calibration.n >= FEW_INJECTED else 0.0
    rate = anchors.rate + weight * (calibration.rate - anchors.rate)
    sampling = rate * (1 - rate) / n + rate**2 * (1 - recall) / max(recall * calibration.n, 1)
    margin = CONFIDENCE * float(np.sqrt(sampling)) + SIMILARITY * rate
    low, high = (rate + (1 - weight) * (end - rate) for end in anchors.interval)
    interval = (max(0.0, min(low, rate) - margin), min(1.0, max(high, rate) + margin))
    transition = anchors.transition * (rate / anchors.rate if anchors.rate else 1)
    np.fill_diagonal(transition, 0)
    transition /= np.maximum(1, transition.sum(axis=1, keepdims=True))
    np.fill_diagonal(transition, 1 - transition.sum(axis=1))
    return replace(anchors, rate=rate, interval=interval, transition=transition)


def calibrate(scores: list[tuple[NDArray[np.float64], NDArray[np.bool_]]]) -> Calibration:
    """From the scores of each network's training labels, and which of these were injected."""
    shares = np.linspace(0, 1, 101)
    n = sum(int(injected.sum()) for _, injected in scores)
    found = np.zeros(101)
    for values, injected in scores:
        values = _without_ties(values)
        cuts = np.quantile(values[~injected], shares)
        found += (values[injected] <= cuts[:, None]).sum(axis=1)
    found[0] = 0
    return Calibration(n, tuple(float(value) for value in found / max(n, 1)))


def _without_ties(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The scores (n,); if some are equal, their ranks, with equal ones in random order."""
    if len(np.unique(values)) == len(values):
        return values
    random = np.random.default_rng(0).random(len(values))
    ranks = np.empty(len(values))
    ranks[np.lexsort((random, values))] = np.arange(len(values))
    return ranks
