"""What follows from a diagnosis: confused pairs, how right it was, what to look at."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noisybench.datasets import Dataset
from noisybench.datasets.dataset import UNKNOWN
from noisybench.diagnosis.diagnose import Diagnosis
from noisybench.diagnosis.injection import FEW_INJECTED
from noisybench.diagnosis.observing import Labels
from noisybench.errors import join_limited

FEW_IMAGES = 20
WEAK = 0.4
POLLUTED = 0.5

CANNOT_SEE = (
    "systematic relabelling: a class whose images all have another class's label looks right",
    "noise that follows the image: ambiguous images are found where the network doubts them, right or wrong",
    "images of no class: where many alike have one label, the network learns them as that class",
)


@dataclass(frozen=True)
class Pair:
    """Images that seem to be of class `true` and have the label `given`; count: their estimated number."""

    true: int
    given: int
    count: float


def confused_pairs(diagnosis: Diagnosis, most: int = 10) -> list[Pair]:
    """The pairs of classes that are confused most often, by the estimated transition matrix."""
    counts = diagnosis.estimate.prior[:, None] * diagnosis.transition * len(diagnosis.rows)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    pairs = [
        Pair(int(i), int(j), float(counts[i, j]))
        for i, j in zip(*np.unravel_index(order, counts.shape), strict=True)
    ]
    return [pair for pair in pairs if pair.count >= 0.5]


@dataclass(frozen=True)
class Correctness:
    """How right a ranking is, where the truth is known.

    n: labels whose truth is known; n_wrong: of these, the wrong ones; precision: the share of wrong labels
    among the n_wrong most suspicious, which is the recall too; average_precision: over all cuts;
    flagged_precision, flagged_recall: of the labels that the diagnosis distrusts.  recall: (classes,), at
    n_wrong, of the wrong labels of each given class; None where there are none.
    """

    n: int
    n_wrong: int
    precision: float
    average_precision: float
    flagged_precision: float | None
    flagged_recall: float
    recall: tuple[float | None, ...]

    @property
    def rate(self) -> float:
        """The fraction of wrong labels."""
        return self.n_wrong / self.n


def correctness(diagnosis: Diagnosis, true: Labels) -> Correctness | None:
    """Compare with the true labels (n,) of the diagnosed images, with UNKNOWN and WRONG as in `Dataset`.

    None where no label is known to be wrong.
    """
    from sklearn.metrics import average_precision_score

    known = true != UNKNOWN
    wrong = (true != diagnosis.given) & known
    n_wrong = int(wrong.sum())
    if not n_wrong:
        return None
    order = diagnosis.order[known[diagnosis.order]]
    found = np.zeros(len(true), np.bool_)
    found[order[:n_wrong]] = True
    flagged = diagnosis.flagged & known
    classes = range(diagnosis.transition.shape[0])
    by_class = [found[wrong & (diagnosis.given == c)] for c in classes]
    return Correctness(
        n=int(known.sum()),
        n_wrong=n_wrong,
        precision=float(wrong[found].mean()),
        average_precision=float(average_precision_score(wrong[known], -diagnosis.scores[known])),
        flagged_precision=float(wrong[flagged].mean()) if flagged.any() else None,
        flagged_recall=float(flagged[wrong].mean()),
        recall=tuple(float(part.mean()) if len(part) else None for part in by_class),
    )


def conflicts(dataset: Dataset, rows: Labels, given: Labels) -> NDArray[np.bool_]:
    """Which images (n,) occur more than once with different labels."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        groups[dataset.train_images[row].tobytes()].append(place)
    conflicting = np.zeros(len(rows), np.bool_)
    for places in groups.values():
        if len(places) > 1 and len(set(given[places].tolist())) > 1:
            conflicting[places] = True
    return conflicting


def notes(diagnosis: Diagnosis, dataset: Dataset, n_conflicting: int) -> list[str]:
    """What this data set gives reason to be careful about, as sentences."""
    found = []
    classes = dataset.classes
    if dataset.train_paths is not None:
        found.append(
            f"The {len(dataset.test_labels):,} test images are not diagnosed. `noisybench data add` sets"
            " fewer aside with --test-share."
        )

    def named(numbers: Sequence[int]) -> str:
        return join_limited(classes[number] for number in numbers)

    counts = np.bincount(diagnosis.given, minlength=len(classes))
    few = np.flatnonzero(counts < FEW_IMAGES).tolist()
    if few:
        found.append(
            f"Fewer than {FEW_IMAGES} images have the label {named(few)}: their estimates rest on chance."
        )
    unseen = [c for c in diagnosis.estimate.unseen if c not in few]
    if unseen:
        found.append(
            f"Hardly any held-out image is predicted as {named(unseen)}: the class is too hard for this"
            " network, or none of its labels is right. The estimates leave it out."
        )
    flagged = np.bincount(diagnosis.given[diagnosis.flagged], minlength=len(classes))
    polluted = np.flatnonzero((flagged > POLLUTED * counts) & (counts >= FEW_IMAGES)).tolist()
    if polluted:
        found.append(
            f"More than half of the labels {named(polluted)} are distrusted. Where most labels of a class are"
            " wrong the network learns them, and it may be the right ones that are distrusted: look at them."
        )
    if diagnosis.rate > POLLUTED:
        found.append(
            "More than half of all labels are distrusted: either they are wrong, or the networks have learnt"
            " too little to tell. Train longer (--epochs), and compare."
        )
    if diagnosis.calibration.n < FEW_INJECTED:
        found.append(
            f"Only {diagnosis.calibration.n} labels were made wrong on purpose: what the ranking finds of"
            " them says little, and the estimates do without it."
        )
    if n_conflicting:
        found.append(
            f"{n_conflicting:,} images occur more than once with different labels: at least one label"
            " of each is wrong, whatever the score (column conflict)."
        )
    if diagnosis.estimate.error > WEAK:
        found.append(
            f"The networks get about {diagnosis.estimate.error:.0%} of the images wrong by themselves: the"
            " rate is uncertain, and many suspects are only hard. Train longer (--epochs), or take a larger"
            " --model."
        )
    return found
