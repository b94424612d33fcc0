"""The IDX files in which MNIST and its kin are published."""

import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noisybench.datasets.dataset import Part, Shape, checked_part
from noisybench.datasets.sources import Parts, contents
from noisybench.errors import DataError

UNSIGNED_BYTE = 8


@dataclass(frozen=True)
class IdxFiles:
    """Four IDX files, gzipped or not, in `path` or where torchvision puts them: `folder` below it."""

    folder: str
    classes: tuple[str, ...]
    shape: Shape

    @property
    def expects(self) -> str:
        return (
            "a folder with train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and"
            f" t10k-labels-idx1-ubyte, each with .gz or without; or torchvision's root with {self.folder}/"
        )

    def read(self, path: Path) -> Parts | None:
        for place in (path, path / self.folder):
            if any(place.glob("t*-idx?-ubyte*")):
                return self._part(place, "train"), self._part(place, "t10k")
        return None

    def _part(self, place: Path, part: str) -> Part:
        images_path = _plain_or_gzipped(place / f"{part}-images-idx3-ubyte")
        labels_path = _plain_or_gzipped(place / f"{part}-labels-idx1-ubyte")
        images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
        where = f"{images_path} and {labels_path.name}"
        return checked_part(where, images[..., None], labels.astype(np.int64), self.classes, self.shape)


def _plain_or_gzipped(path: Path) -> Path:
    return path if path.exists() else path.with_name(path.name + ".gz")


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array of unsigned bytes in an IDX file (format: yann.lecun.com/exdb/mnist).

    Raises DataError unless it has that many dimensions and exactly the bytes its header promises.
    """
    data = contents(path)
    start = 4 + 4 * dimensions
    if len(data) < start or data[:4] != bytes((0, 0, UNSIGNED_BYTE, dimensions)):
        raise DataError(f"{path} is not an IDX file of unsigned bytes in {dimensions} dimension(s).")
    sizes = struct.unpack_from(f">{dimensions}I", data, 4)
    if len(data) - start != math.prod(sizes):
        raise DataError(
            f"{path} holds {len(data) - start} bytes of data, but its header promises {math.prod(sizes)}."
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(sizes)
