"""Open-set images: those of another data set that open-set noise puts in the place of training images."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from noisybench import datasets
from noisybench.datasets import Dataset
from noisybench.datasets.dataset import Shape
from noisybench.errors import DataError, InvalidValue
from noisybench.seeding import uniform_numbers

# The row of origin of an image that is the data set's own, and the true label of an open-set image.
OWN = -1
NO_CLASS = -1


@dataclass(frozen=True, eq=False)
class OpenSetImages:
    """Which training images gave way, and to which images.

    source: the name of the data set that these come from, and fingerprint: of its content.
    origin: (n,) int64, for each training image the row of the source's training images, in their
    prepared order, that took its place, or OWN.
    """

    source: str
    fingerprint: str
    origin: NDArray[np.int64]

    @property
    def digest(self) -> bytes:
        """A hash of all that it does to the images."""
        return hashlib.sha256(self.fingerprint.encode() + self.origin.astype("<i8").tobytes()).digest()

    def source_index(self) -> NDArray[np.int64]:
        """(n,): as `origin`, but the row in the files that the source was prepared from here."""
        rows = self._source().train_index[self.origin]
        return np.where(self.origin == OWN, OWN, rows)

    def true(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """The true labels (n,) of the images as they are now, NO_CLASS for open-set images."""
        return np.where(self.origin == OWN, labels, NO_CLASS)

    def replace(self, dataset: Dataset) -> Dataset:
        """`dataset` with the open-set images in their places, and NO_CLASS as their labels.

        Images of another size or number of channels are scaled (bilinear) and converted to fit.  Raises
        DataError if the source is not prepared here, or not with this content.
        """
        places = np.flatnonzero(self.origin != OWN)
        images = np.array(dataset.train_images)
        images[places] = fitted(self._source().train_images[self.origin[places]], dataset.shape)
        truth = None if dataset.train_truth is None else self.true(dataset.train_truth)
        labels = self.true(dataset.train_labels)
        return replace(dataset, train_images=images, train_labels=labels, train_truth=truth)

    def _source(self) -> Dataset:
        source = datasets.load(self.source)
        if source.fingerprint != self.fingerprint:
            raise DataError(
                f"The open-set images come from {self.source} with fingerprint {self.fingerprint[:12]}, but"
                f" what is prepared here has {source.fingerprint[:12]}."
            )
        return source


def choose(source: str, places: NDArray[np.int64], n: int, random: np.random.Generator) -> OpenSetImages:
    """Put training images of `source`, drawn without replacement, in the `places` (k,) among n.

    Raises InvalidValue if the source has fewer images than there are places.
    """
    dataset = datasets.load(source)
    available = len(dataset.train_labels)
    if len(places) > available:
        raise InvalidValue(
            f"Open-set noise is to replace {len(places):,} images, but its source {source} has only"
            f" {available:,} training images. Choose a lower rate or a larger source."
        )
    origin = np.full(n, OWN, dtype=np.int64)
    order = np.argsort(uniform_numbers(random, available), kind="stable")
    origin[places] = order[: len(places)]
    return OpenSetImages(dataset.name, dataset.fingerprint, origin)


def fitted(images: NDArray[np.uint8], shape: Shape) -> NDArray[np.uint8]:
    """Images (n, h, w, c) uint8 brought to `shape`; those that have it are returned as they are."""
    if images.shape[1:] == shape:
        return images
    from PIL import Image

    height, width, channels = shape
    mode = "L" if channels == 1 else "RGB"
    resized = [
        Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)
        .convert(mode)
        .resize((width, height), Image.Resampling.BILINEAR)
        for image in images
    ]
    return np.stack([np.asarray(image).reshape(shape) for image in resized])
