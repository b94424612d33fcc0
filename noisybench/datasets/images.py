"""Image files of any kind that Pillow reads, brought to one size and one number of channels."""

import hashlib
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from noisybench.datasets.dataset import Shape

TURNED_GREY = "is in colour: turned grey"
MODES = {1: "L", 3: "RGB"}  # Pillow's names for grey and colour, by the number of channels
GREY = ("1", "L", "LA", "I;16", "I;16B", "I;16L", "I;16N")
MAX_PIXELS = 89_478_485  # Pillow's own limit, from which it warns of a decompression bomb
# The endings under which files of a format are usual; of other formats, any.
ENDINGS = {
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}


class Unreadable(Exception):
    """The reason why a file gives no image."""


@dataclass(frozen=True)
class Decoded:
    """digest: the SHA-256 of the pixels as they are prepared, empty if `failure` says why there are none.
    remarks: what was changed on the way, besides the size."""

    digest: bytes
    remarks: tuple[str, ...] = ()
    failure: str = ""


def decode(path: str, shape: Shape) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """The image at `path` as an array of `shape`, and remarks on what was changed.

    The shorter side is resized (bilinear, with antialiasing) and the centre is cropped, as torchvision's
    Resize and CenterCrop do.  Raises Unreadable.
    """
    with opened(path) as file:
        pixels = file.width * file.height
        if pixels > MAX_PIXELS:
            raise Unreadable(f"has {pixels:,} pixels, more than {MAX_PIXELS:,}: a decompression bomb?")
        remarks = _remarks_on_file(path, file)
        image = _upright(file, remarks)
        image = _in_mode(image, MODES[shape[2]], remarks)
        return np.asarray(_fitted(image, shape)).reshape(shape), tuple(remarks)


@contextmanager
def opened(path: str, formats: tuple[str, ...] | None = None) -> Iterator[Image.Image]:
    """The image file at `path`, of one of these formats of Pillow, by default any.

    Raises Unreadable, also for what Pillow raises while the block reads the image.
    """
    if not os.path.exists(path):
        raise Unreadable("is missing, or a link to a file that is missing")
    if not os.path.isfile(path):
        raise Unreadable("is not a regular file")
    if os.path.getsize(path) == 0:
        raise Unreadable("is empty (0 bytes)")
    try:
        with Image.open(path, formats=formats) as image:
            yield image
    except Unreadable:
        raise
    except UnidentifiedImageError:
        raise Unreadable(f"is not {'an' if formats is None else f'a {formats[0]}'} image") from None
    except Image.DecompressionBombError:
        raise Unreadable(f"has more than {MAX_PIXELS:,} pixels: a decompression bomb?") from None
    except PermissionError:
        raise Unreadable("cannot be read: permission denied") from None
    except Exception as error:  # Pillow's decoders raise errors of any kind on damaged data
        raise Unreadable(f"is damaged: {' '.join(str(error).split()) or type(error).__name__}") from None


def _remarks_on_file(path: str, image: Image.Image) -> list[str]:
    ending = os.path.splitext(path)[1].lower()
    remarks = []
    if ending not in ENDINGS.get(image.format or "", (ending,)):
        remarks.append(f"is a {image.format} file in spite of its name")
    if getattr(image, "n_frames", 1) > 1:
        remarks.append("has several frames: the first is used")
    return remarks


def _upright(image: Image.Image, remarks: list[str]) -> Image.Image:
    """The image turned as its EXIF data say."""
    try:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
        upright = ImageOps.exif_transpose(image) if turned else image
    except Exception:  # EXIF data of any kind of damage
        image.load()
        remarks.append("has damaged EXIF data: not turned")
        return image
    if turned:
        remarks.append("is turned as its EXIF data say")
    return upright


def _in_mode(image: Image.Image, mode: str, remarks: list[str]) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        remarks.append("has 16 bits a pixel: the upper 8 are used")
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise Unreadable(f"has 32-bit pixels (mode {image.mode}), whose range is not known")
    if image.mode == "P":
        remarks.append("has a palette")
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        if np.asarray(image)[..., 3].min() < 255:
            remarks.append("is transparent: laid on white")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        if mode == "L":
            return image.convert("L")
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        remarks.append(f"is {image.mode}: converted to RGB")
    if mode == "L" and image.mode not in GREY and not remarks:
        remarks.append(TURNED_GREY)
    return image if image.mode == mode else image.convert(mode)


def _fitted(image: Image.Image, shape: Shape) -> Image.Image:
    height, width, _ = shape
    scale_by_width = image.width * height <= image.height * width
    if scale_by_width:
        size = (width, int(width * image.height / image.width))
    else:
        size = (int(height * image.width / image.height), height)
    if size[0] * size[1] > MAX_PIXELS:
        raise Unreadable(f"is too long and thin: {image.width}×{image.height} pixels")
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    return image.crop((left, top, left + width, top + height))


def measured(paths: Sequence[str]) -> tuple[list[int], bool]:
    """The shorter side of each image that can be opened, and whether all of them are grey."""
    sides, grey = [], True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in paths:
            try:
                if not os.path.isfile(path):
                    continue
                with Image.open(path) as image:
                    sides.append(min(image.size))
                    grey = grey and (image.mode in GREY or (image.mode, image.format) == ("I", "PNG"))
            except Exception:  # what is wrong with it is said when it is read
                continue
    return sides, grey


def decode_into(file: str, first: int, paths: Sequence[str], shape: Shape) -> list[Decoded]:
    """Decode `paths` into the rows from `first` on of `file`, which holds bare pixels."""
    size = shape[0] * shape[1] * shape[2]
    results = []
    descriptor = os.open(file, os.O_WRONLY)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a decoder warns of is an error or does not matter
            for row, path in enumerate(paths, start=first):
                try:
                    image, remarks = decode(path, shape)
                except Unreadable as error:
                    results.append(Decoded(b"", failure=str(error)))
                    continue
                pixels = image.tobytes()
                if os.pwrite(descriptor, pixels, row * size) != size:
                    raise OSError(28, os.strerror(28))
                results.append(Decoded(hashlib.sha256(pixels).digest(), remarks))
    finally:
        os.close(descriptor)
    return results
