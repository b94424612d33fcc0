"""Manifest: the portable file of noisy labels, from which anyone can train on exactly these labels."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import noisybench
from noisybench.datasets.dataset import Dataset
from noisybench.errors import DataError, InputError
from noisybench.labels import npz
from noisybench.labels.drawing import Corruption, Labels, Matrix, realised_rate
from noisybench.labels.noise import Draws, Rate, Seed
from noisybench.labels.open_set import NO_CLASS, OWN, OpenSetImages
from noisybench.options import OptionSpec

FORMAT = 1

WHAT = "a file of noisy labels written by `noisybench corrupt`"

# The fields of a run that say how the labels were drawn.
DRAWN_BY = {
    name: OptionSpec.of(declared)
    for name, declared in {"dataset": str, "noise": str, "rate": Rate, "draws": Draws, "seed": Seed}.items()
}


@dataclass(frozen=True, eq=False)
class Manifest:
    """The noisy labels of a training set, what they were before, and how they were drawn.

    clean, noisy: labels (n,) int64 in the prepared order of the data set.  index: (n,) int64, the row
    of each image in the source that the data set was prepared from.  transition: as of `Corruption`.
    fingerprint: of the content of the data set.  open_set: of open-set noise, where images come from;
    these have the clean label -1.  version: of the noisybench that drew the labels.
    """

    dataset: str
    fingerprint: str
    classes: tuple[str, ...]
    noise: str
    rate: float
    draws: str
    seed: int
    transition: Matrix | None = field(repr=False)
    clean: Labels = field(repr=False)
    noisy: Labels = field(repr=False)
    index: Labels = field(repr=False)
    open_set: OpenSetImages | None = None
    version: str = noisybench.__version__

    @property
    def sha256(self) -> str:
        """The hash of the noisy labels and, if there are any, of the open-set images under them."""
        return self.corruption.sha256

    @property
    def corruption(self) -> Corruption:
        return Corruption(self.noisy, self.transition, self.open_set)

    @property
    def digest(self) -> str:
        """A hash of all in it that changes a run: part of the identity of a run that trains on it."""
        content: list[NDArray[Any]] = [self.noisy.astype("<i8"), self.clean.astype("<i8")]
        if self.transition is not None:
            content.append(self.transition.astype("<f8"))
        open_set = b"" if self.open_set is None else self.open_set.digest
        return hashlib.sha256(b"".join(part.tobytes() for part in content) + open_set).hexdigest()[:16]

    @property
    def realised_rate(self) -> float:
        """The fraction of labels that are wrong."""
        return realised_rate(self.clean, self.noisy)

    def encode(self) -> bytes:
        """The labels as an .npz file without pickles."""
        metadata = {
            "format": FORMAT,
            "noisybench": self.version,
            "fingerprint": self.fingerprint,
            "classes": self.classes,
            "sha256": self.sha256,
            **{name: getattr(self, name) for name in DRAWN_BY},
        }
        arrays = {name: getattr(self, name) for name in ("clean", "noisy", "index")}
        # An unknown matrix is one without rows.
        arrays["transition"] = np.empty((0, 0)) if self.transition is None else self.transition
        if self.open_set is not None:
            metadata |= {"source": self.open_set.source, "source_fingerprint": self.open_set.fingerprint}
            arrays |= {"origin": self.open_set.origin, "origin_index": self.open_set.source_index()}
        return npz.encode(metadata, **arrays)

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """Read what `encode` made.  Raises DataError, naming the file, for anything else."""
        metadata, arrays = npz.read(path, WHAT)
        if isinstance(metadata.get("format"), int) and metadata["format"] > FORMAT:
            raise DataError(
                f"{path} has format {metadata['format']}, but this noisybench reads only up to {FORMAT}."
                " Install a newer one."
            )
        try:
            manifest, sha256 = cls(**_described(metadata), **_checked(arrays, metadata)), metadata["sha256"]
        except KeyError as missing:
            raise DataError(f"{path} is not {WHAT}: it has no {missing}.") from None
        except InputError as error:
            raise DataError(f"{path} is not {WHAT}: {error}") from None
        if manifest.sha256 != sha256:
            raise DataError(f"{path} is damaged: its noisy labels do not have the hash that it states.")
        return manifest

    def fit(self, dataset: Dataset) -> None:
        """Raise DataError unless the labels belong to this very data set."""
        own = self.clean != NO_CLASS
        same = len(own) == len(dataset.train_labels) and np.array_equal(
            self.clean[own], dataset.train_labels[own]
        )
        if self.fingerprint != dataset.fingerprint or not same:
            raise DataError(
                f"The labels were drawn for {self.dataset} (fingerprint {self.fingerprint[:12]}), and do not"
                f" fit {dataset.name} (fingerprint {dataset.fingerprint[:12]})."
            )


def _described(metadata: dict[str, Any]) -> dict[str, Any]:
    """The fields of Manifest that are no arrays.  Raises KeyError or InputError."""
    classes = metadata["classes"]
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise DataError("its classes are not a list of names.")
    return {
        **{name: declared.read(name, metadata[name]) for name, declared in DRAWN_BY.items()},
        "classes": tuple(classes),
        "fingerprint": str(metadata["fingerprint"]),
        "version": str(metadata["noisybench"]),
    }


def _checked(arrays: dict[str, NDArray[Any]], metadata: dict[str, Any]) -> dict[str, Any]:
    """The fields of Manifest that are arrays.  Raises KeyError or InputError."""
    n_classes, n = len(metadata["classes"]), arrays["clean"].shape[:1]
    labels = {name: arrays[name] for name in ("clean", "noisy", "index")}
    open_set = _open_set_images(arrays, metadata)
    places = np.zeros(n, dtype=np.bool_) if open_set is None else open_set.origin != OWN
    for name, values in labels.items():
        if values.dtype != np.int64 or values.ndim != 1 or values.shape != n:
            raise DataError(f"its {name} is {values.dtype} {values.shape}, but must be int64, long as clean.")
    # A clean label is missing where the image is an open-set one, and nowhere else.
    own = {"clean": labels["clean"][~places], "noisy": labels["noisy"]}
    for name, values in own.items():
        wrong = values[(values < 0) | (values >= n_classes)]
        if len(wrong):
            raise DataError(f"one of its {name} labels is {wrong[0]}, but there are {n_classes} classes.")
    if (labels["clean"][places] != NO_CLASS).any():
        raise DataError(f"an open-set image in it has a clean label other than {NO_CLASS}.")
    return {**labels, "transition": _transition(arrays, n_classes), "open_set": open_set}


def _transition(arrays: dict[str, NDArray[Any]], n_classes: int) -> Matrix | None:
    """The transition matrix, or None if it is not known.  Raises KeyError or InputError."""
    transition = arrays["transition"]
    if transition.shape == (0, 0):
        return None
    if transition.dtype != np.float64 or transition.shape != (n_classes, n_classes):
        found = f"{transition.dtype} {transition.shape}"
        raise DataError(f"its transition is {found}, but must be float64 {(n_classes, n_classes)}.")
    if not (transition >= 0).all() or not np.allclose(transition.sum(axis=1), 1):
        raise DataError("the rows of its transition are not probabilities.")
    return transition


def _open_set_images(arrays: dict[str, NDArray[Any]], metadata: dict[str, Any]) -> OpenSetImages | None:
    """The open-set images, where the file tells of some.  Raises KeyError or InputError."""
    if "source" not in metadata:
        return None
    origin = arrays["origin"]
    if origin.dtype != np.int64 or origin.shape != arrays["clean"].shape or (origin < OWN).any():
        raise DataError("its origin must be int64, long as clean, with rows or -1.")
    return OpenSetImages(str(metadata["source"]), str(metadata["source_fingerprint"]), origin)
