"""LabelFile: the labels in a file of any format, and GivenLabels: those of a data set's training images."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisybench.datasets import Dataset
from noisybench.datasets.dataset import UNKNOWN
from noisybench.errors import DataError
from noisybench.labels.drawing import Corruption
from noisybench.labels.noise import INDEPENDENT
from noisybench.registry import NOISES

Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LabelFile:
    """The labels in a file, in the order of the file: what every reader of a format returns.

    name: of the labels, as tables show it: the key in the file, or the file's name without its ending.
    given: (n,) int64.  clean: the true labels (n,) int64, or None; UNKNOWN (-2) where there is none, WRONG
    (-1) where all that is known is that the given label is wrong.
    index: (n,) int64, the row of each image in the source that the data set was prepared from, as
    `Dataset.train_index` counts; None: the file has a label for each training image, in that order.
    """

    name: str
    given: Labels
    clean: Labels | None = None
    index: Labels | None = None

    def of(self, rows: NDArray[np.bool_]) -> "LabelFile":
        """The labels of these rows of the file, (n,)."""
        clean, index = (None if part is None else part[rows] for part in (self.clean, self.index))
        return replace(self, given=self.given[rows], clean=clean, index=index)

    def fit(self, dataset: Dataset) -> "GivenLabels":
        """The labels in the prepared order of `dataset`.  Raises DataError unless they are its own: one for
        each training image, of its classes, and with the clean labels that the data set has."""
        rows_of_source = np.sort(dataset.train_index)
        index = rows_of_source[: len(self.given)] if self.index is None else self.index
        order = np.argsort(index, kind="stable")
        if len(self.given) != len(rows_of_source) or not np.array_equal(index[order], rows_of_source):
            raise _wrong_number(len(self.given), dataset)
        rows = order[np.searchsorted(index[order], dataset.train_index)]
        given = self.given[rows]
        clean = None if self.clean is None else self.clean[rows]
        self._check_classes(dataset, given, 0)
        if clean is not None:
            self._check_classes(dataset, clean, UNKNOWN)
        truth = dataset.known_truth
        if truth is not None:
            if clean is not None:
                _check_order(dataset, clean, truth)
            else:
                clean = truth
                _check_chance(dataset, given)
        return GivenLabels(self.name, dataset.fingerprint, given, clean)

    @staticmethod
    def _check_classes(dataset: Dataset, labels: Labels, least: int) -> None:
        outside = labels[(labels < least) | (labels >= dataset.n_classes)]
        if len(outside):
            from_one = labels.min() == 1 and labels.max() == dataset.n_classes
            raise DataError(
                f"A label in the file is {outside[0]}, but {dataset.name} has the labels 0 to"
                f" {dataset.n_classes - 1}."
                + (" The labels in the file count from 1: subtract 1 from each." if from_one else "")
            )


def _wrong_number(n_labels: int, dataset: Dataset) -> DataError:
    n = len(dataset.train_index)
    message = f"The file has {n_labels:,} labels, but {dataset.name} has {n:,} training images"
    if n_labels == n:
        return DataError(f"{message} with other row numbers, or the file has one of them twice.")
    if n == 50_000 and n_labels == 45_000:
        message += " (files of PLC leave out the last 5,000, on which it validates)"
    return DataError(
        f"{message}. Every training image needs a label: complete the file, or prepare a data set of the"
        " images that have one: noisybench data add NAME --from TABLE."
    )


def _from_folder(dataset: Dataset) -> bool:
    """Whether a benchmark was prepared from a folder of images, whose rows go class by class."""
    in_source = dataset.train_labels[np.argsort(dataset.train_index)]
    return dataset.train_paths is None and bool((np.diff(in_source) >= 0).all())


def _lost_order(dataset: Dataset) -> str:
    return (
        f"{dataset.name} was prepared from a folder of images, which go class by class: the row numbers of"
        " the original are lost. Prepare it from the original archive (noisybench data add NAME --from"
        " ARCHIVE); or make the folder a data set of your own (noisybench data add my-set --from FOLDER), and"
        " give the labels as a table with a column of paths."
    )


def fit_by_chance(given: Labels, true: Labels) -> bool:
    """Whether labels (n,) fit no better than labels of any other order would: within six standard deviations
    of chance."""
    shares = [np.bincount(x, minlength=int(max(given.max(), true.max())) + 1) / len(x) for x in (given, true)]
    chance = float(shares[0] @ shares[1])
    return bool((given == true).mean() < chance + 6 * (chance / len(given)) ** 0.5)


def _check_chance(dataset: Dataset, given: Labels) -> None:
    """Raise DataError for labels that fit a benchmark from a folder of images by chance."""
    if _from_folder(dataset) and fit_by_chance(given, dataset.train_labels):
        raise DataError(f"The labels fit no better than by chance. {_lost_order(dataset)}")


def _check_order(dataset: Dataset, clean: Labels, truth: Labels) -> None:
    """Raise DataError unless the clean labels are the true ones, where both are known."""
    known = (clean >= 0) & (truth >= 0)
    agree = float((clean == truth)[known].mean()) if known.any() else 1.0
    if agree < 1 and np.array_equal(np.sort(clean), np.sort(truth)):
        raise DataError(
            f"Only {agree:.1%} of the clean labels in the file fit those of {dataset.name}, but each class"
            " occurs as often: the file is in another order. "
            + (
                _lost_order(dataset)
                if _from_folder(dataset)
                else "If it is that of CIFAR's binary version, give the order with --label-order FILE.npy."
            )
        )
    if agree < 1:
        raise DataError(
            f"Only {agree:.1%} of the clean labels in the file are those of {dataset.name}: the file is of"
            " another data set, or has other true labels."
        )


@dataclass(frozen=True, eq=False)
class GivenLabels:
    """Labels that somebody gave the training images of a data set; no noise model is known.

    given: (n,) int64, in the prepared order of the data set.  clean: (n,) int64, with UNKNOWN and WRONG, or
    None.  fingerprint: of the data set.
    """

    name: str
    fingerprint: str
    given: Labels
    clean: Labels | None = None

    @property
    def digest(self) -> str:
        """A hash of the labels: part of the identity of a run that trains on them."""
        content = [self.given] if self.clean is None else [self.given, self.clean]
        return hashlib.sha256(b"".join(part.astype("<i8").tobytes() for part in content)).hexdigest()[:16]

    @property
    def corruption(self) -> Corruption:
        """The labels without a transition matrix, and what is known of the true ones."""
        return Corruption(self.given, None, true=self.clean)

    @property
    def setting(self) -> dict[str, Any]:
        """What the labels say of a run, by the fields of Config.  rate: the fraction known to be wrong."""
        noise = NOISES.bind("file", {"key": self.name})
        return {"noise": str(noise), "rate": self.rate or 0.0, "draws": INDEPENDENT, "labels": self.digest}

    @property
    def rate(self) -> float | None:
        """The fraction of wrong labels among those whose true label is known; None if none is known."""
        if self.clean is None or (self.clean == UNKNOWN).all():
            return None
        known = self.clean != UNKNOWN
        return float((self.clean != self.given)[known].mean())

    def fit(self, dataset: Dataset) -> None:
        """Raise DataError unless these are labels of this very data set."""
        if self.fingerprint != dataset.fingerprint:
            raise DataError(
                f"The labels were read for other content (fingerprint {self.fingerprint[:12]}) than"
                f" {dataset.name} has (fingerprint {dataset.fingerprint[:12]})."
            )
