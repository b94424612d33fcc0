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

from noisybench import datasets
from noisybench.config import Config
from noisybench.datasets.dataset import DatasetName
from noisybench.labels.open_set import NO_CLASS, OpenSetImages, choose
from noisybench.registry import DATASETS, NOISES, Bound
from noisybench.seeding import generator, uniform_numbers

Labels = NDArray[np.int64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Corruption:
    """What noise made of a training set: the noisy labels `given` (n,), the transition matrix (classes,
    classes) they were drawn with, and the open-set images, where there are any."""

    given: Labels
    transition: Matrix
    open_set: OpenSetImages | None = None

    @property
    def sha256(self) -> str:
        """The hash of the noisy labels and, if there are any, of the open-set images under them."""
        if self.open_set is None:
            return labels_sha256(self.given)
        return hashlib.sha256(_bytes(self.given) + self.open_set.digest).hexdigest()

    def same(self, other: "Corruption") -> bool:
        """Whether both make the same training set."""
        return self.sha256 == other.sha256 and np.array_equal(self.transition, other.transition)


def corrupt(config: Config, labels: Labels) -> Corruption:
    """The noise that `config` asks for, over the whole training set in its prepared order.

    labels: its clean labels (n,).  Raises InputError, for open-set noise also if its source is not
    prepared or has too few images.
    """
    transition = transition_of(config)
    random = generator(config.seed, "noise")
    noise = NOISES.bind(config.noise)
    if not noise.entry.metadata.open_set:
        return Corruption(corrupt_labels(labels, transition, random, config.draws), transition)
    places, given = _open_set(labels, config.rate, len(transition), random, config.draws)
    source = noise.arguments["source"]
    chosen = choose(source, places, len(labels), generator(config.seed, "open_set"))
    return Corruption(given, transition, chosen)


def _open_set(
    labels: Labels, rate: float, n_classes: int, random: np.random.Generator, draws: str
) -> tuple[NDArray[np.int64], Labels]:
    """The rows whose images give way, in order of their numbers, and the labels (n,) of all.

    independent: each image by itself, and each then has a label drawn from all classes.  exact: of the
    n_y images of class y, round(η n_y), and their labels stay, so that every label has its share.
    """
    u, second = uniform_numbers(random, len(labels)), uniform_numbers(random, len(labels))
    order = np.argsort(-u, kind="stable")
    if draws == "independent":
        places = order[u[order] >= 1 - rate]
        given = labels.copy()
        given[places] = (second[places] * n_classes).astype(np.int64)
        return places, given
    of_class = (order[labels[order] == y] for y in range(n_classes))
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for members in of_class:
        chosen[members[: round(rate * len(members))]] = True
    return order[chosen[order]], labels.copy()


def as_prepared(config: Config) -> Config:
    """The config with its data sets as they are prepared here.  Raises DataError if one is not."""
    noise = NOISES.bind(config.noise)
    if noise.entry.metadata.open_set:
        noise = Bound(noise.entry, {"source": datasets.identify(noise.arguments["source"])})
    return replace(config, dataset=datasets.identify(config.dataset), noise=str(noise))


def transition_of(config: Config) -> Matrix:
    """The transition matrix (classes, classes) of the noise that `config` asks for."""
    info = DATASETS[DatasetName.read(config.dataset).stem].metadata
    return transition_matrix(config.noise, config.rate, info.classes, info.flips)


def transition_matrix(noise: str, rate: float, classes: Sequence[str], flips: Mapping[str, str]) -> Matrix:
    """T of shape (classes, classes): T[i, j] is the probability that class i becomes class j.

    noise: a registered noise, such as ``uniform``; rate: η in [0, 1); flips: the data set's own map of
    class names, for noises that ask for it.  Raises UnknownName or InvalidValue.
    """
    rows = NOISES.bind(noise)(rate, len(classes), classes=classes, flips=flips)
    transition = np.array(rows, dtype=np.float64)
    assert transition.shape == (len(classes),) * 2 and (transition >= 0).all()
    assert np.allclose(transition.sum(axis=1), 1)
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


def intolerable(transition: Matrix) -> str | None:
    """A warning if, for some class, the true label is no longer the most likely one; else None.

    For uniform noise that is η >= (c - 1) / c, from where no loss is noise tolerant (section 3.1).
    """
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

    The row of a class without samples is all zero; open-set images have no class.
    """
    noisy, clean = noisy[clean != NO_CLASS], clean[clean != NO_CLASS]
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
