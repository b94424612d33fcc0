"""Mask: the file of samples to train on that `noisybench prune` writes."""

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noisybench.datasets import Dataset
from noisybench.errors import DataError
from noisybench.labels import npz

WHAT = "a mask written by `noisybench prune`"
ARRAYS = ("keep", "source_index")


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

    def encode(self) -> bytes:
        """The mask as an .npz file without pickles."""
        described = {name: value for name, value in vars(self).items() if name not in ARRAYS}
        return npz.encode(described, keep=self.keep, source_index=self.source_index)

    @classmethod
    def read(cls, path: Path) -> "Mask":
        """Read what `encode` made.  Raises DataError, naming the file, for anything else."""
        described, arrays = npz.read(path, WHAT)
        names = [f.name for f in fields(cls)]
        if sorted([*described, *arrays]) != sorted(names):
            raise DataError(f"{path} is not {WHAT}: it must hold {', '.join(names)}.")
        numbers = {"rate": (int, float), "threshold": (int, float), "seed": (int,)}
        for name, value in described.items():
            if isinstance(value, bool) or not isinstance(value, numbers.get(name, (str,))):
                kind = "a number" if name in numbers else "text"
                raise DataError(f"{path} is not {WHAT}: its {name} must be {kind}.")
        mask = cls(**{**described, **arrays})
        if mask.keep.dtype != np.bool_ or mask.keep.ndim != 1 or mask.keep.shape != mask.source_index.shape:
            raise DataError(f"{path} is not {WHAT}: keep must be bool, one value an image.")
        return mask

    def fit(self, dataset: Dataset, sha256: str) -> None:
        """Raise DataError unless the mask was made for this data set and noisy labels of this hash."""
        if self.fingerprint != dataset.fingerprint or len(self.keep) != len(dataset.train_labels):
            raise DataError(
                f"The mask was made for {self.dataset} with other content (fingerprint"
                f" {self.fingerprint[:12]}, {len(self.keep):,} images) than {dataset.name} has here"
                f" (fingerprint {dataset.fingerprint[:12]}, {len(dataset.train_labels):,} images)."
            )
        if self.labels_sha256 != sha256:
            raise DataError(
                f"These are not the labels that the mask judges, which are those of run {self.run}"
                f" ({self.noise} {self.rate:g}, seed {self.seed}). Leave out --seed, and give the --labels"
                " of that run if it had some."
            )
