"""Open-set noise: images of another data set in the place of training images.

No NumPy at module level: `noisybench --help` reads this module.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from noisybench import datasets
from noisybench.datasets import Dataset
from noisybench.datasets.dataset import DatasetName, Shape
from noisybench.errors import DataError, InvalidValue
from noisybench.labels.noise import INDEPENDENT, CleanData, Noise
from noisybench.options import Option
from noisybench.registry import DATASETS, NOISES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from noisybench.labels.drawing import Corruption

# The row of origin of an image that is the data set's own, and the true label of an open-set image.
OWN = -1
NO_CLASS = -1


def read_source(text: str) -> str:
    """The name of a data set, as it is.  Raises UnknownName."""
    DATASETS[DatasetName.read(text).stem]
    return text


Source = Annotated[
    str, Option("data set that the open-set images come from", kind="data set", parse=read_source)
]


@NOISES.register("open-set")
class OpenSet(Noise):
    """With probability η the image is one of another data set, under a random label (Wang et al. 2018)."""

    source: Source = "cifar100"

    def draw(
        self, data: CleanData, rate: float, draws: str, random: "Callable[[str], np.random.Generator]"
    ) -> "Corruption":
        """Images give way by the stream "noise"; those of the source are drawn by the stream "open_set"."""
        import numpy as np

        from noisybench.labels.drawing import Corruption

        places, given = replaced(data.labels, rate, len(data.classes), random("noise"), draws)
        chosen = choose(self.source, places, len(data.labels), random("open_set"))
        return Corruption(given, np.eye(len(data.classes)), chosen)


def replaced(
    labels: "NDArray[np.int64]", rate: float, n_classes: int, random: "np.random.Generator", draws: str
) -> "tuple[NDArray[np.int64], NDArray[np.int64]]":
    """The rows whose images give way, in order of their numbers, and the labels (n,) of all.

    independent: each image by itself, and each then has a label drawn from all classes.  exact: of the
    n_y images of class y, round(η n_y), and their labels stay, so that every label has its share.
    """
    import numpy as np

    from noisybench.seeding import uniform_numbers

    u, second = uniform_numbers(random, len(labels)), uniform_numbers(random, len(labels))
    order = np.argsort(-u, kind="stable")
    if draws == INDEPENDENT:
        places = order[u[order] >= 1 - rate]
        given = labels.copy()
        given[places] = (second[places] * n_classes).astype(np.int64)
        return places, given
    of_class = (order[labels[order] == y] for y in range(n_classes))
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for members in of_class:
        chosen[members[: round(rate * len(members))]] = True
    return order[chosen[order]], labels.copy()


@dataclass(frozen=True, eq=False)
class OpenSetImages:
    """Which training images gave way, and to which images.

    source: the name of the data set that these come from, and fingerprint: of its content.
    origin: (n,) int64, for each training image the row of the source's training images, in their
    prepared order, that took its place, or OWN.
    """

    source: str
    fingerprint: str
    origin: "NDArray[np.int64]"

    @property
    def digest(self) -> bytes:
        """A hash of all that it does to the images."""
        return hashlib.sha256(self.fingerprint.encode() + self.origin.astype("<i8").tobytes()).digest()

    def source_index(self) -> "NDArray[np.int64]":
        """(n,): as `origin`, but the row in the files that the source was prepared from here."""
        import numpy as np

        rows = self._source().train_index[self.origin]
        return np.where(self.origin == OWN, OWN, rows)

    def true(self, labels: "NDArray[np.int64]") -> "NDArray[np.int64]":
        """The true labels (n,) of the images as they are now, NO_CLASS for open-set images."""
        import numpy as np

        return np.where(self.origin == OWN, labels, NO_CLASS)

    def replace(self, dataset: Dataset) -> Dataset:
        """`dataset` with the open-set images in their places, and NO_CLASS as their labels.

        Images of another size or number of channels are scaled (bilinear) and converted to fit.  Raises
        DataError if the source is not prepared here, or not with this content.
        """
        import numpy as np

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


def choose(source: str, places: "NDArray[np.int64]", n: int, random: "np.random.Generator") -> OpenSetImages:
    """Put training images of `source`, drawn without replacement, in the `places` (k,) among n.

    Raises InvalidValue if the source has fewer images than there are places.
    """
    import numpy as np

    from noisybench.seeding import uniform_numbers

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


def fitted(images: "NDArray[np.uint8]", shape: Shape) -> "NDArray[np.uint8]":
    """Images (n, h, w, c) uint8 brought to `shape`; those that have it are returned as they are."""
    if images.shape[1:] == shape:
        return images
    import numpy as np
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
