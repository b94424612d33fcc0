"""What one run sees of a data set: which images train, which validate, and with which labels.

The mask of a pruning (`noisybench prune`) also lives here, as it says which samples to train on.
"""

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noisybench import npz
from noisybench.config import Config
from noisybench.datasets import Dataset
from noisybench.errors import DataError, InvalidValue
from noisybench.seeding import generator

Rows = NDArray[np.int64]

WHAT = "a mask written by `noisybench prune`"
ARRAYS = ("keep", "source_index")


@dataclass(frozen=True)
class Split:
    """The rows of the data set's training images that train and validate, each shape (n,).

    given: the noisy labels and true: the clean ones, of all training images of the data set; a foreign
    image (open-set noise) has the true label -1.
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
    order = generator(config.seed, "split").permutation(wanted)
    n_validation = round(config.validation * wanted)
    if not 0 < n_validation < wanted:
        raise InvalidValue(
            f"validation is {config.validation} of {wanted} images: that leaves none to"
            f" {'validate' if n_validation == 0 else 'train on'}."
        )
    train = used[np.sort(order[n_validation:])]
    if keep is not None:
        train = train[keep[train]]
        if not len(train):
            raise InvalidValue("The mask keeps none of this run's training images.")
    return Split(train, used[np.sort(order[:n_validation])], given, np.asarray(dataset.train_labels))


@dataclass(frozen=True, eq=False)
class Mask:
    """Which training images of a data set to keep: the file that `noisybench prune` writes.

    keep: shape (n,), over all training images of the data set, in their prepared order.
    source_index: shape (n,), the row of each in the source that the data set was prepared from.
    dataset to seed: how the labels were drawn that it judges; labels_sha256: their hash.
    run: whose network judged them; threshold: the k of it.
    """

    keep: NDArray[np.bool_]
    source_index: NDArray[np.int64]
    dataset: str
    fingerprint: str
    noise: str
    rate: float
    draws: str
    seed: int
    labels_sha256: str
    run: str
    threshold: float

    @property
    def digest(self) -> str:
        """A hash of the mask: part of the identity of a run that trains with it."""
        return hashlib.sha256(self.fingerprint.encode() + np.packbits(self.keep).tobytes()).hexdigest()[:16]

    def write(self, path: Path) -> None:
        """Write an .npz file without pickles, whole or not at all.  Raises DataError."""
        described = {name: value for name, value in vars(self).items() if name not in ARRAYS}
        npz.write(path, described, keep=self.keep, source_index=self.source_index)

    @classmethod
    def read(cls, path: Path) -> "Mask":
        """Read what `write` wrote.  Raises DataError, naming the file, for anything else."""
        described, arrays = npz.read(path, WHAT)
        names = [f.name for f in fields(cls)]
        if sorted([*described, *arrays]) != sorted(names):
            raise DataError(f"{path} is not {WHAT}: it must hold {', '.join(names)}.")
        mask = cls(**{**described, **arrays})
        if mask.keep.dtype != np.bool_ or mask.keep.ndim != 1 or mask.keep.shape != mask.source_index.shape:
            raise DataError(f"{path} is not {WHAT}: keep must be bool, one value an image.")
        return mask

    def fit(self, dataset: Dataset, sha256: str) -> None:
        """Raise DataError unless the mask was made for this data set and noisy labels of this hash."""
        if self.fingerprint != dataset.fingerprint or len(self.keep) != len(dataset.train_labels):
            raise DataError(f"The mask was made for {self.dataset}, and does not fit {dataset.name}.")
        if self.labels_sha256 != sha256:
            raise DataError(
                f"These are not the labels that the mask judges, which are those of run {self.run}"
                f" ({self.noise} {self.rate:g}, seed {self.seed}). Leave out --seed, and give the --labels"
                " of that run if it had some."
            )
