"""The files of published data sets, in the layouts in which they are found, or downloaded by torchvision."""

import errno
import gzip
import math
import re
import struct
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noisybench.datasets.dataset import Part, Shape, checked_part
from noisybench.datasets.images import MODES, Unreadable, opened
from noisybench.datasets.scan import Problem, is_hidden, refusal
from noisybench.errors import DataError
from noisybench.files import temporary_folder

Parts = tuple[Part, Part]

N_TEST = 500  # of the digits


@dataclass(frozen=True)
class Layout:
    """One way in which a data set with these classes, and images of this shape, lies on disk."""

    classes: tuple[str, ...]
    shape: Shape

    @property
    def expects(self) -> str:
        """What PATH must be, in words."""
        raise NotImplementedError

    def read(self, path: Path) -> Parts | None:
        """The training and the test part, or None if `path` does not look like this layout.

        Raises DataError if it does, but is damaged or incomplete.
        """
        raise NotImplementedError


def read(source: Path | None, torchvision_class: str, layout: Layout) -> Parts:
    """Read `source`, in this layout or as a tree of images; None: what torchvision downloads.

    Raises DataError.
    """
    layouts = (layout, ImageTree(layout.classes, layout.shape))
    expected = "".join(f"\n  - {each.expects}" for each in layouts)
    if source is None:
        # What is downloaded is read from the original files, as the user's own would be.
        with temporary_folder() as folder:
            _download(torchvision_class, folder, expected)
            return read(Path(folder), torchvision_class, layout)
    if not source.exists():
        raise DataError(f"{source} does not exist.")
    for each in layouts:
        parts = each.read(source)
        if parts is not None:
            return parts
    raise DataError(f"{source} holds nothing that is known here. It must be one of:{expected}")


def _download(torchvision_class: str, folder: str, expected: str) -> None:
    """Let torchvision download into `folder`; it verifies the checksums."""
    import torchvision

    try:
        getattr(torchvision.datasets, torchvision_class)(folder, download=True)
    except (OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise DataError(
                f"The temporary folder {tempfile.gettempdir()} is full. Set the environment variable TMPDIR"
                " to a folder with space."
            ) from None
        reason = str(error).strip().splitlines()[-1]
        raise DataError(
            f"torchvision could not download {torchvision_class} ({reason})."
            f" Without internet, give the files with --from PATH, where PATH is one of:{expected}"
        ) from None


def contents(path: Path) -> bytes:
    """The bytes of a file, decompressed (and their checksum verified) if it is gzipped."""
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    except FileNotFoundError:
        raise DataError(f"{path} is missing.") from None
    except EOFError:
        raise DataError(f"{path} is truncated: the compressed data end too early.") from None
    except (OSError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}.") from None


@dataclass(frozen=True)
class IdxFiles(Layout):
    """Four IDX files, gzipped or not, in `path` or where torchvision puts them: `folder` below it."""

    folder: str

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
        images, labels = _idx(images_path, 3), _idx(labels_path, 1)
        where = f"{images_path} and {labels_path.name}"
        return checked_part(where, images[..., None], labels.astype(np.int64), self.classes, self.shape)


def _plain_or_gzipped(path: Path) -> Path:
    return path if path.exists() else path.with_name(path.name + ".gz")


def _idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array of unsigned bytes in an IDX file (format: yann.lecun.com/exdb/mnist).

    Raises DataError unless it has that many dimensions and exactly the bytes its header promises.
    """
    data = contents(path)
    start = 4 + 4 * dimensions
    unsigned_bytes = 8
    if len(data) < start or data[:4] != bytes((0, 0, unsigned_bytes, dimensions)):
        raise DataError(f"{path} is not an IDX file of unsigned bytes in {dimensions} dimension(s).")
    sizes = struct.unpack_from(f">{dimensions}I", data, 4)
    if len(data) - start != math.prod(sizes):
        raise DataError(
            f"{path} holds {len(data) - start} bytes of data, but its header promises {math.prod(sizes)}."
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(sizes)


@dataclass(frozen=True)
class ImageTree(Layout):
    """A folder of PNG images for each class, called by its name (case and punctuation aside) or number.

    An image's row is its position when classes go in their order and files go by name.
    """

    @property
    def expects(self) -> str:
        return "a folder with train/<class>/*.png and test/<class>/*.png"

    def read(self, path: Path) -> Parts | None:
        """The two parts.  Raises DataError with all problems at once."""
        if not ((path / "train").is_dir() or (path / "test").is_dir()):
            return None
        problems: list[Problem] = []
        found = [(place, *self._images(place, problems)) for place in (path / "train", path / "test")]
        if problems:
            raise refusal(problems, "Mend them.")
        train, test = (
            checked_part(str(place), np.stack(images), np.array(labels, np.int64), self.classes, self.shape)
            for place, images, labels in found
        )
        return train, test

    def _images(self, place: Path, problems: list[Problem]) -> tuple[list[NDArray[np.uint8]], list[int]]:
        """The images in a part's folder and their labels, in order."""
        images: list[NDArray[np.uint8]] = []
        labels: list[int] = []
        for label, folder in self._class_folders(place, problems):
            n = len(images)
            for file in _visible(folder, problems):
                try:
                    images.append(self._image(file))
                    labels.append(label)
                except Unreadable as error:
                    problems.append(Problem(str(file), "unreadable", str(error)))
            if len(images) == n:
                problems.append(Problem(str(folder), "empty class", "holds no .png file that can be used"))
        return images, labels

    def _class_folders(self, place: Path, problems: list[Problem]) -> list[tuple[int, Path]]:
        """The folder of each class and its label, in the order of the classes."""
        numbers = {_simplified(name): number for number, name in enumerate(self.classes)}
        folders: dict[int, Path] = {}
        if not place.is_dir():
            problems.append(
                Problem(str(place), "missing", "is missing: a folder with one of images per class")
            )
            return []
        for folder in _visible(place, problems):
            plain = _simplified(folder.name)
            number = int(plain) if re.fullmatch(r"[0-9]{1,9}", plain) else numbers.get(plain, -1)
            if not folder.is_dir():
                cause = "lies in no class's folder"
            elif not 0 <= number < len(self.classes):
                cause = f"is the name of no class; the classes: {', '.join(self.classes)}"
            elif number in folders:
                cause = f"and {folders[number].name} are folders of the same class"
            else:
                folders[number] = folder
                continue
            problems.append(Problem(str(folder), "no class", cause))
        missing = [name for number, name in enumerate(self.classes) if number not in folders]
        if missing:
            problems.append(Problem(str(place), "missing", f"has no folder for: {', '.join(missing)}"))
        return sorted(folders.items())

    def _image(self, path: Path) -> NDArray[np.uint8]:
        """The pixels of an image file, which must be a PNG image of the shape.  Raises Unreadable."""
        height, width, channels = self.shape
        if path.is_dir():
            raise Unreadable("is a folder in that of a class")
        if path.suffix.lower() != ".png":
            raise Unreadable("is not a .png file")
        with opened(str(path), ("PNG",)) as image:
            if (image.height, image.width, image.mode) == (height, width, MODES[channels]):
                return np.asarray(image).reshape(self.shape)
            found, wanted = f"{image.height}×{image.width} {image.mode}", f"{height}×{width}"
            raise Unreadable(f"is {found}, but must be {wanted} {MODES[channels]}")


def _visible(place: Path, problems: list[Problem]) -> Iterator[Path]:
    """What lies in a folder, in order of names, without what systems leave behind."""
    try:
        yield from (path for path in sorted(place.iterdir()) if not is_hidden(path.name))
    except OSError as error:
        problems.append(Problem(str(place), "unreadable", f"cannot be read: {error.strerror}"))


def _simplified(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def read_digits(source: Path | None, classes: tuple[str, ...], shape: Shape) -> Parts:
    """`sklearn.datasets.load_digits`, as the test part of Optical Recognition of Handwritten Digits
    (Alpaydin & Kaynak 1998, UCI): 1,797 grey images of 8×8 pixels from 0 to 16, scaled to 0 to 255.

    The last N_TEST are for testing: the file goes by writer, so most of their writers are new.  It is read
    without importing scikit-learn, which takes seconds.
    """
    if source is not None:
        raise DataError("digits come with scikit-learn: leave out --from.")
    package = find_spec("sklearn")
    assert package is not None and package.origin is not None, "scikit-learn is a dependency"
    path = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    try:
        table = np.loadtxt(path, delimiter=",", dtype=np.float64)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"scikit-learn's digits cannot be read from {path}: {error}.") from None
    # A pixel counts the inked points in a 4×4 block of the original.
    images = np.rint(table[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, *shape)
    labels = table[:, -1].astype(np.int64)

    def part(rows: slice) -> Part:
        chosen = checked_part(str(path), images[rows], labels[rows], classes, shape)
        return replace(chosen, index=np.arange(len(labels), dtype=np.int64)[rows])

    return part(slice(None, -N_TEST)), part(slice(-N_TEST, None))
