"""Drawing noisy labels from a transition matrix, and measuring what was drawn.

Labels are drawn over the whole training set in its prepared order, before any subset or split.  The
uniform numbers come from the raw stream of NumPy's PCG64, which NumPy promises never to change (NEP
19), so one seed gives the same labels on every machine and version.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from noisybench.datasets import Dataset
from noisybench.errors import InvalidValue
from noisybench.labels.noise import Rows, noise_of
from noisybench.labels.open_set import OpenSetImages
from noisybench.registry import NOISES
from noisybench.seeding import uniform_numbers

Labels = NDArray[np.int64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Corruption:
    """What noise made of a training set.

    given: the noisy labels (n,).
    transition: (classes, classes), the probabilities with which a label of class i became class j; of a noise
    that depends on more than the class, their mean over the images of class i; of open-set noise, over those
    that stay.  None if they are not known.
    open_set: the open-set images, where there are any.
    true: the true labels (n,) where the data set has others, with UNKNOWN and WRONG as in `Dataset`.
    """

    given: Labels
    transition: Matrix | None
    open_set: OpenSetImages | None = None
    true: Labels | None = None

    @property
    def sha256(self) -> str:
        """The hash of the noisy labels and, if there are any, of the open-set images under them."""
        if self.open_set is None:
            return labels_sha256(self.given)
        return hashlib.sha256(_bytes(self.given) + self.open_set.digest).hexdigest()

    def same(self, other: "Corruption") -> bool:
        """Whether both make the same training set."""
        if self.transition is None or other.transition is None:
            return self.sha256 == other.sha256 and self.transition is other.transition
        return self.sha256 == other.sha256 and np.array_equal(self.transition, other.transition)

    def on(self, dataset: Dataset) -> Dataset:
        """`dataset` with the images and the true labels as they are now.  Raises DataError."""
        if self.true is not None:
            dataset = replace(dataset, train_truth=self.true)
        return dataset if self.open_set is None else self.open_set.replace(dataset)


def transition_matrix(noise: str, rate: float, classes: Sequence[str], flips: Mapping[str, str]) -> Matrix:
    """T of shape (classes, classes): T[i, j] is the probability that class i becomes class j.

    noise: a registered noise that has a matrix, such as ``uniform``; rate: η in [0, 1); flips: the data set's
    own map of class names, for noises that ask for it.  Raises UnknownName or InvalidValue.
    """
    rows = noise_of(NOISES.bind(noise)).transition(rate, tuple(classes), flips)
    if rows is None:
        raise InvalidValue(f"{noise} noise has no transition matrix.")
    return checked_matrix(rows, len(classes))


def checked_matrix(rows: Rows, n_classes: int) -> Matrix:
    """The rows of a transition matrix as an array.  Raises InvalidValue unless they are probabilities."""
    transition = np.array(rows, dtype=np.float64)
    square = transition.shape == (n_classes, n_classes)
    if not square or not (transition >= 0).all() or not np.allclose(transition.sum(axis=1), 1):
        raise InvalidValue(
            f"The rows of the transition matrix are not {n_classes} probabilities for each of {n_classes}"
            " classes."
        )
    return transition


def corrupt_labels(
    labels: Labels, transition: Matrix, generator: np.random.Generator, draws: str = "independent"
) -> Labels:
    """Noisy labels (n,) for the clean `labels` (n,).

    independent: one uniform number u a sample; the label of class y stays if u < T[y, y], else the
    other classes divide the rest of [0, 1) in their order.  exact: of the n_y samples of class y,
    exactly round((1 - T[y, y]) n_y) flip, those of the largest u, and a second number picks the target.
    Either way, the labels that flip at one rate also flip at any higher rate from the same seed.
    """
    u = uniform_numbers(generator, len(labels))
    second = uniform_numbers(generator, len(labels)) if draws == "exact" else u
    noisy = labels.copy()
    for y, row in enumerate(transition):
        members = np.flatnonzero(labels == y)
        if draws == "exact":
            n_flips = round((1 - row[y]) * len(members))
            members = members[np.argsort(u[members], kind="stable")][len(members) - n_flips :]
            place = row[y] + (1 - row[y]) * second[members]
        else:
            place = u[members]
        noisy[members] = _pick(row, y, place)
    return noisy


def _pick(row: NDArray[np.float64], y: int, place: NDArray[np.float64]) -> Labels:
    """The class at each `place` in [0, 1), which class y and then the others divide as `row` says."""
    order = np.array([y, *(j for j in range(len(row)) if j != y)])
    possible = order[row[order] > 0]
    # The last class takes what rounding leaves below 1.
    edges = np.cumsum(row[possible])[:-1]
    return np.asarray(possible[np.searchsorted(edges, place, side="right")])


def intolerable(transition: Matrix | None) -> str | None:
    """A warning if, for some class, the true label is no longer the most likely one; else None.

    For uniform noise that is η >= (c - 1) / c, from where no loss is noise tolerant (section 3.1).
    """
    if transition is None:
        return None
    kept = transition.diagonal()
    others = (transition - np.diag(kept)).max(axis=1)
    lost = np.flatnonzero(kept <= others + 1e-12)  # η = (c - 1) / c itself is not exact in binary
    if not len(lost):
        return None
    named = ", ".join(map(str, lost[:5])) + (", …" if len(lost) > 5 else "")
    return (
        f"For {len(lost)} of {len(kept)} classes ({named}) the true label is no longer the most likely one:"
        " no loss can be expected to tolerate this noise."
    )


def realised_rate(clean: Labels, noisy: Labels) -> float:
    """The fraction of labels that are wrong."""
    return float((clean != noisy).mean())


def realised_transition(clean: Labels, noisy: Labels, n_classes: int) -> Matrix:
    """The fractions of each class i that became class j, shape (classes, classes).

    The row of a class without samples is all zero; open-set images have no class, and labels whose truth is
    not known do not count.
    """
    noisy, clean = noisy[clean >= 0], clean[clean >= 0]
    counts = np.bincount(clean * n_classes + noisy, minlength=n_classes**2).reshape(n_classes, n_classes)
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def transition_error(estimated: Matrix, actual: Matrix) -> float:
    """The total variation distance ½ Σ_j |T̂_ij - T_ij| of each row, averaged over the classes: 0 to 1."""
    return float(np.abs(estimated - actual).sum(axis=1).mean() / 2)


def labels_sha256(labels: Labels) -> str:
    """SHA-256 of the labels as little-endian int64, in hexadecimal."""
    return hashlib.sha256(_bytes(labels)).hexdigest()


def _bytes(labels: Labels) -> bytes:
    return labels.astype("<i8").tobytes()
