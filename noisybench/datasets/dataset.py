"""Dataset: images and labels in canonical order, and the fingerprint of their content.

The same images reach us in different orders, depending on where they came from.  They are sorted
here by a digest of their bytes, so that the same noise seed hits the same images whatever the
source, and the fingerprint depends on the content alone.

NumPy is imported for its types only: the names of data sets are listed without it.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from noisybench.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Shape = tuple[int, int, int]

N_DIGITS = 12  # of the fingerprint, in the name of a data set that is not canonical

# The true label of an image of which none is known, and of one of which only the given label is known to be
# wrong.
UNKNOWN, WRONG = -2, -1


@dataclass(frozen=True)
class DatasetName:
    """The name of a data set and, behind an "@", the beginning of the fingerprint of its content, or "".

    The form of a name: cifar10 or cifar10@0123456789ab.
    """

    stem: str
    digits: str | None = None

    @classmethod
    def read(cls, text: str) -> "DatasetName":
        stem, at, digits = text.partition("@")
        return cls(stem, digits if at else None)

    def __str__(self) -> str:
        return self.stem if self.digits is None else f"{self.stem}@{self.digits}"


@dataclass(frozen=True)
class Part:
    """The training or the test part of a data set.

    images: (n, h, w, c) uint8; labels: (n,) int64; index: (n,) int64, the row of each image in the
    source it came from.
    """

    images: "NDArray[np.uint8]"
    labels: "NDArray[np.int64]"
    index: "NDArray[np.int64]"

    def keys(self) -> list[bytes]:
        """What each image is sorted by: the SHA-256 of its bytes (rows, columns, channels), its label."""
        return [
            key_of(hashlib.sha256(image.tobytes()).digest(), int(label))
            for image, label in zip(self.images, self.labels, strict=True)
        ]

    def in_canonical_order(self) -> tuple["Part", list[bytes]]:
        """The same part sorted by its keys, and the keys."""
        keys = self.keys()
        order = sorted(range(len(keys)), key=keys.__getitem__)
        return Part(self.images[order], self.labels[order], self.index[order]), sorted(keys)


def key_of(digest: bytes, label: int) -> bytes:
    """What an image is sorted by, of the digest of its bytes and its label."""
    return digest + label.to_bytes(2, "big")


def checked_part(
    where: str,
    images: "NDArray[np.uint8]",
    labels: "NDArray[np.int64]",
    classes: tuple[str, ...],
    shape: Shape,
) -> Part:
    """The part made of `images` (n, *shape) and `labels` (n,), in the order of the source `where`.

    Raises DataError unless there are images, of that shape, with one label of `classes` each.
    """
    import numpy as np

    if images.shape[1:] != shape:
        raise DataError(f"{where}: the images are {by(images.shape[1:])}, but must be {by(shape)}.")
    if len(images) != len(labels):
        raise DataError(f"{where}: there are {len(images)} images, but {len(labels)} labels.")
    if not len(images):
        raise DataError(f"{where}: there are no images.")
    outside = labels[(labels < 0) | (labels >= len(classes))]
    if len(outside):
        raise DataError(f"{where}: a label is {outside[0]}, but must be from 0 to {len(classes) - 1}.")
    return Part(images, labels.astype(np.int64), np.arange(len(images), dtype=np.int64))


def by(shape: tuple[int, ...]) -> str:
    """(32, 32, 3) as 32×32×3."""
    return "×".join(map(str, shape))


def extra_content(truth: "NDArray[np.int64] | None", validation: "NDArray[np.bool_] | None") -> bytes:
    """What the fingerprint of own images has besides: true labels and the validation part, if any."""
    import numpy as np

    if truth is None and validation is None:
        return b""
    n = len(truth if truth is not None else validation)  # type: ignore[arg-type]
    known = np.full(n, UNKNOWN) if truth is None else truth
    chosen = np.zeros(n, np.bool_) if validation is None else validation
    return known.astype("<i8").tobytes() + chosen.tobytes()


def fingerprint(
    classes: tuple[str, ...], shape: Shape, train: Sequence[bytes], test: Sequence[bytes], extra: bytes = b""
) -> str:
    """SHA-256 of the content, in hexadecimal: class names, image shape and, whatever their order,
    the keys of the images of both parts; `extra` is what `extra_content` gives of the training part."""
    digest = hashlib.sha256(json.dumps({"classes": classes, "shape": shape}, sort_keys=True).encode())
    for keys in (train, test):
        digest.update(len(keys).to_bytes(8, "big"))
        digest.update(b"".join(sorted(keys)))
    digest.update(extra)
    return digest.hexdigest()


@dataclass(frozen=True)
class Dataset:
    """A prepared data set.

    name: "cifar10", or "cifar10@" and 12 hexadecimal digits of the fingerprint if the content is
    not the canonical one.  Images are (n, h, w, c) uint8, labels (n,) int64 from 0 to n_classes-1;
    the indices, (n,) int64, are the rows of the images in the source they came from.

    Of a user's own images, each (n,) or None: train_truth, the true labels where the source has them, UNKNOWN
    (-2) where it does not, and WRONG (-1) where it only says that the given label is wrong; train_validation,
    whether an image belongs to the user's validation part; train_paths, the path of each file in the source.
    """

    name: str
    classes: tuple[str, ...]
    train_images: "NDArray[np.uint8]"
    train_labels: "NDArray[np.int64]"
    train_index: "NDArray[np.int64]"
    test_images: "NDArray[np.uint8]"
    test_labels: "NDArray[np.int64]"
    test_index: "NDArray[np.int64]"
    fingerprint: str
    canonical: bool
    train_truth: "NDArray[np.int64] | None" = None
    train_validation: "NDArray[np.bool_] | None" = None
    train_paths: "NDArray[np.bytes_] | None" = None

    @property
    def n_classes(self) -> int:
        return len(self.classes)

    @property
    def shape(self) -> Shape:
        """Height, width and channels of an image."""
        height, width, channels = self.train_images.shape[1:]
        return height, width, channels

    @property
    def train_true(self) -> "NDArray[np.int64]":
        """The labels that count as true, (n,): the true ones where they are known, WRONG where only the given
        label is known to be wrong, else those of the data set."""
        import numpy as np

        if self.train_truth is None:
            return np.asarray(self.train_labels)
        return np.where(self.train_truth == UNKNOWN, self.train_labels, self.train_truth)

    @property
    def known_truth(self) -> "NDArray[np.int64] | None":
        """The true labels (n,), negative where they are not known, or None.

        The labels of a benchmark are true, those of a user's own images only where the user said so."""
        return self.train_labels if self.train_paths is None else self.train_truth

    @property
    def train(self) -> Part:
        return Part(self.train_images, self.train_labels, self.train_index)

    @property
    def test(self) -> Part:
        return Part(self.test_images, self.test_labels, self.test_index)
