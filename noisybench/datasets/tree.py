"""A tree of PNG images: train/<class>/*.png and test/<class>/*.png."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from noisybench.datasets.dataset import Shape, checked_part
from noisybench.datasets.images import MODES
from noisybench.datasets.scan import Problem, is_hidden, refusal
from noisybench.datasets.sources import Parts


@dataclass(frozen=True)
class ImageTree:
    """A folder of images for each class, called by its name (case and punctuation aside) or number.

    An image's row is its position when classes go in their order and files go by name.
    """

    classes: tuple[str, ...]
    shape: Shape

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
                image, cause = self._image(file)
                if image is None:
                    problems.append(Problem(str(file), "unreadable", cause))
                else:
                    images.append(image)
                    labels.append(label)
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

    def _image(self, path: Path) -> tuple[NDArray[np.uint8] | None, str]:
        """The pixels of an image file, or None and why there are none."""
        height, width, channels = self.shape
        if path.is_dir():
            return None, "is a folder in that of a class"
        if not path.is_file():
            return None, "is not a regular file, or a link to a file that is missing"
        if path.suffix.lower() != ".png":
            return None, "is not a .png file"
        if not path.stat().st_size:
            return None, "is empty (0 bytes)"
        try:
            with Image.open(path, formats=["PNG"]) as image:
                if (image.height, image.width, image.mode) == (height, width, MODES[channels]):
                    return np.asarray(image).reshape(self.shape), ""
                found, wanted = f"{image.height}×{image.width} {image.mode}", f"{height}×{width}"
                return None, f"is {found}, but must be {wanted} {MODES[channels]}"
        except UnidentifiedImageError:
            return None, "is not a PNG image"
        except Exception as error:  # Pillow's decoder raises errors of any kind on damaged data
            return None, f"is a damaged PNG image: {error}"


def _visible(place: Path, problems: list[Problem]) -> Iterator[Path]:
    """What lies in a folder, in order of names, without what systems leave behind."""
    try:
        yield from (path for path in sorted(place.iterdir()) if not is_hidden(path.name))
    except OSError as error:
        problems.append(Problem(str(place), "unreadable", f"cannot be read: {error.strerror}"))


def _simplified(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
