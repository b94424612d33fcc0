"""What one run sees of a data set: which images train, which validate, and with which labels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noisybench.config import Config
from noisybench.datasets import Dataset
from noisybench.errors import InvalidValue
from noisybench.seeding import generator

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """The rows of the data set's training images that train and validate, each shape (n,).

    given: the noisy labels and true: the clean ones, of all training images of the data set; an open-set
    image has the true label -1.
    """

    train: Rows
    validation: Rows
    given: NDArray[np.int64]
    true: NDArray[np.int64]


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
        return _own_split(dataset, used, given, keep)
    order = generator(config.seed, "split").permutation(wanted)
    n_validation = round(config.validation * wanted)
    if not 0 < n_validation < wanted:
        raise InvalidValue(
            f"validation is {config.validation} of {wanted} images: that leaves none to"
            f" {'validate' if n_validation == 0 else 'train on'}."
        )
    train = _thinned(used[np.sort(order[n_validation:])], keep)
    return Split(train, used[np.sort(order[:n_validation])], given, dataset.train_true)


def _own_split(
    dataset: Dataset, used: Rows, given: NDArray[np.int64], keep: NDArray[np.bool_] | None
) -> Split:
    """The data set's own validation part, of the rows that are used."""
    assert dataset.train_validation is not None
    validates = dataset.train_validation[used]
    if validates.all() or not validates.any():
        raise InvalidValue(
            f"The {len(used)} images used of {dataset.name} leave none to train on, or none of its own"
            " validation part: choose a larger --train-size."
        )
    return Split(_thinned(used[~validates], keep), used[validates], given, dataset.train_true)


def _thinned(train: Rows, keep: NDArray[np.bool_] | None) -> Rows:
    if keep is None:
        return train
    if not keep[train].any():
        raise InvalidValue("The mask keeps none of this run's training images.")
    return train[keep[train]]
