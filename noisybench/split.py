"""What one run sees of a data set: which images train, which validate, and with which labels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noisybench.config import Config
from noisybench.datasets import Dataset
from noisybench.datasets.dataset import UNKNOWN
from noisybench.errors import InvalidValue
from noisybench.labels.open_set import NO_CLASS
from noisybench.seeding import generator

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """The rows of the data set's training images that train and validate, each shape (n,).

    given: the noisy labels and true: the clean ones, of all training images of the data set; an open-set
    image has the true label -1.  trusted: rows of `train` whose true label the run is given.
    """

    train: Rows
    validation: Rows
    given: NDArray[np.int64]
    true: NDArray[np.int64]
    trusted: Rows


def split(
    config: Config, dataset: Dataset, given: NDArray[np.int64], keep: NDArray[np.bool_] | None = None
) -> Split:
    """Divide the training images of `dataset` as `config` says; `keep` then thins out the training part.

    The subset and the validation part are drawn at random, each from its own stream.  Raises
    InvalidValue if there are fewer images than asked for, or too few to train and validate.
    """
    total = len(dataset.train_labels)
    wanted = total if config.train_size is None else config.train_size
    if wanted > total:
        raise InvalidValue(f"train_size is {wanted}, but {dataset.name} has {total} training images.")
    used = np.arange(total)
    if wanted < total:
        used = np.sort(generator(config.seed, "subset").permutation(total)[:wanted])
    if dataset.train_validation is not None:
        return _own_split(config, dataset, used, given, keep)
    order = generator(config.seed, "split").permutation(wanted)
    n_validation = round(config.validation * wanted)
    if not 0 < n_validation < wanted:
        raise InvalidValue(
            f"validation is {config.validation} of {wanted} images: that leaves none to"
            f" {'validate' if n_validation == 0 else 'train on'}."
        )
    train = _thinned(used[np.sort(order[n_validation:])], keep)
    validation = used[np.sort(order[:n_validation])]
    return Split(train, validation, given, dataset.train_true, _trusted(config, dataset, train))


def _own_split(
    config: Config, dataset: Dataset, used: Rows, given: NDArray[np.int64], keep: NDArray[np.bool_] | None
) -> Split:
    """The data set's own validation part, of the rows that are used."""
    assert dataset.train_validation is not None
    validates = dataset.train_validation[used]
    if validates.all() or not validates.any():
        raise InvalidValue(
            f"The {len(used)} images used of {dataset.name} leave none to train on, or none of its own"
            " validation part: choose a larger --train-size."
        )
    train = _thinned(used[~validates], keep)
    return Split(train, used[validates], given, dataset.train_true, _trusted(config, dataset, train))


def _thinned(train: Rows, keep: NDArray[np.bool_] | None) -> Rows:
    if keep is None:
        return train
    if not keep[train].any():
        raise InvalidValue("The mask keeps none of this run's training images.")
    return train[keep[train]]


def _trusted(config: Config, dataset: Dataset, train: Rows) -> Rows:
    """The rows of `train` whose true label is given: at random, as evenly over the classes as they allow.

    Raises InvalidValue if there are fewer with a known true label.
    """
    known = dataset.train_true != NO_CLASS
    if dataset.train_truth is not None:
        known &= dataset.train_truth != UNKNOWN
    rows = train[known[train]]
    if config.trusted > len(rows):
        raise InvalidValue(
            f"trusted is {config.trusted}, but only {len(rows)} training images have a known true label."
        )
    order = generator(config.seed, "trusted").permutation(rows)
    labels = dataset.train_true[order]
    # The first of each class, then the second of each, and so on.
    turn = np.empty(len(order), dtype=np.int64)
    for label in np.unique(labels):
        turn[labels == label] = np.arange(int((labels == label).sum()))
    return np.sort(order[np.argsort(turn, kind="stable")[: config.trusted]])
