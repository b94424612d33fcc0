"""A tree of PNG images: train/<class>/*.png and test/<class>/*.png."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from noisybench.datasets.dataset import Part, Shape, checked_part
from noisybench.datasets.sources import Parts
from noisybench.errors import DataError

SHOWN = 40  # problems in a message
MODES = {1: "L", 3: "RGB"}  # Pillow's names for grey and colour, by the number of channels


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
        if not ((path / "train").is_dir() or (path / "test").is_dir()):
            return None
        return self._part(path / "train"), self._part(path / "test")

    def _part(self, place: Path) -> Part:
        folders = self._class_folders(place)
        files = [sorted(_pngs(folder)) for folder in folders]
        for folder, found in zip(folders, files, strict=True):
            if not found:
                raise DataError(f"{folder} holds no .png file.")
        images, problems = [], []
        for path in (path for found in files for path in found):
            try:
                images.append(self._image(path))
            except DataError as error:
                problems.append(str(error))
        if problems:
            more = f"\n… and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
            raise DataError("\n".join(problems[:SHOWN]) + more)
        labels = np.repeat(np.arange(len(files), dtype=np.int64), [len(found) for found in files])
        return checked_part(str(place), np.stack(images), labels, self.classes, self.shape)

    def _class_folders(self, place: Path) -> list[Path]:
        """The folder of each class, in the order of the classes."""
        if not place.is_dir():
            raise DataError(f"{place} is missing: a folder with one folder of images per class.")
        numbers = {_simplified(name): number for number, name in enumerate(self.classes)}
        folders: dict[int, Path] = {}
        for folder in sorted(place.iterdir()):
            if folder.name.startswith(".") or not folder.is_dir():
                continue
            plain = _simplified(folder.name)
            number = int(plain) if re.fullmatch(r"[0-9]{1,9}", plain) else numbers.get(plain, -1)
            if not 0 <= number < len(self.classes):
                raise DataError(f"{folder} is the name of no class. The classes: {', '.join(self.classes)}.")
            if number in folders:
                raise DataError(f"{folder} and {folders[number].name} are folders of the same class.")
            folders[number] = folder
        missing = [name for number, name in enumerate(self.classes) if number not in folders]
        if missing:
            raise DataError(f"{place} has no folder for: {', '.join(missing)}.")
        return [folders[number] for number in range(len(self.classes))]

    def _image(self, path: Path) -> NDArray[np.uint8]:
        height, width, channels = self.shape
        try:
            with Image.open(path, formats=["PNG"]) as image:
                if (image.height, image.width, image.mode) != (height, width, MODES[channels]):
                    raise DataError(
                        f"{path} is {image.height}×{image.width} {image.mode},"
                        f" but must be {height}×{width} {MODES[channels]}."
                    )
                return np.asarray(image).reshape(self.shape)
        except DataError:
            raise
        except UnidentifiedImageError:
            raise DataError(f"{path} is not a PNG image.") from None
        except Exception as error:  # Pillow's decoder raises errors of any kind on damaged data
            raise DataError(f"{path} is a damaged PNG image: {error}.") from None


def _pngs(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.suffix.lower() == ".png" and not p.name.startswith(".")]


def _simplified(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
