"""CIFAR's python batches: pickles of one dictionary each, in a folder or in the original archive.

A pickle can run any code when it is loaded, so these are read by an unpickler that knows nothing
but arrays of bytes, and builds even those itself.
"""

import io
import pickle
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisybench.datasets.dataset import Part, checked_part
from noisybench.datasets.published import Layout, Parts, contents
from noisybench.errors import DataError

Reader = Callable[[str], bytes]


@dataclass(frozen=True)
class CifarBatches(Layout):
    """The files `train` and `test` in `folder` or in `archive`; labels lie under the key `label_key`."""

    folder: str
    archive: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    label_key: str

    @property
    def expects(self) -> str:
        return f"{self.folder}/ or {self.archive}, or a folder with one of them, such as torchvision's root"

    def read(self, path: Path) -> Parts | None:
        if path.is_file():
            return self._from_archive(path)
        for place in (path, path / self.folder):
            if any((place / name).is_file() for name in self.train + self.test):
                return self._from_folder(place)
        if (path / self.archive).is_file():
            return self._from_archive(path / self.archive)
        return None

    def _from_folder(self, place: Path) -> Parts:
        return self._parts(place, lambda name: contents(place / name))

    def _from_archive(self, path: Path) -> Parts:
        # All of it is decompressed first, so that gzip's checksum is verified to the last byte.
        stream = io.BytesIO(contents(path))
        try:
            with tarfile.open(fileobj=stream, mode="r:") as archive:
                members = {PurePosixPath(m.name).name: m for m in archive.getmembers() if m.isfile()}

                def member(name: str) -> bytes:
                    if name not in members:
                        raise DataError(f"{path} holds no file called {name}: is it {self.archive}?")
                    file = archive.extractfile(members[name])
                    assert file is not None, "only regular files are kept in members"
                    return file.read()

                return self._parts(path, member)
        except (tarfile.TarError, EOFError) as error:
            raise DataError(f"{path} is not a complete tar archive: {error}.") from None

    def _parts(self, place: Path, reader: Reader) -> Parts:
        return self._part(place, reader, self.train), self._part(place, reader, self.test)

    def _part(self, place: Path, reader: Reader, names: tuple[str, ...]) -> Part:
        batches = [self._batch(f"{place}/{name}", reader(name)) for name in names]
        return Part(
            np.concatenate([batch.images for batch in batches]),
            np.concatenate([batch.labels for batch in batches]),
            np.arange(sum(len(batch.labels) for batch in batches), dtype=np.int64),
        )

    def _batch(self, where: str, data: bytes) -> Part:
        batch = _unpickled(where, data)
        pixels, labels = batch.get("data"), batch.get(self.label_key)
        height, width, channels = self.shape
        if not isinstance(pixels, _Array) or pixels.values.shape[1:] != (height * width * channels,):
            raise DataError(f"{where}: 'data' is not an array of {height * width * channels} bytes an image.")
        if not isinstance(labels, list) or not all(type(x) is int and abs(x) < 2**31 for x in labels):
            raise DataError(f"{where}: '{self.label_key}' is not a list of class numbers.")
        # A row holds one channel after the other.
        images = pixels.values.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
        return checked_part(where, images, np.array(labels, np.int64), self.classes, self.shape)


def _unpickled(where: str, data: bytes) -> dict[str, Any]:
    try:
        batch = _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # the unpickler raises errors of any kind on damaged data
        raise DataError(f"{where} is not one of CIFAR's batches, or is damaged: {error}.") from None
    if not isinstance(batch, dict):
        raise DataError(f"{where} is not one of CIFAR's batches: it holds no dictionary.")
    # Python 2's strings are bytes here.
    return {key.decode("latin-1") if isinstance(key, bytes) else str(key): batch[key] for key in batch}


class _Dtype:
    """Stands for numpy.dtype, of unsigned bytes only."""

    def __init__(self, kind: object, *_: object) -> None:
        if kind not in ("u1", b"u1"):
            raise pickle.UnpicklingError(f"an array of {kind!r} instead of unsigned bytes")

    def __setstate__(self, state: object) -> None:
        """Byte order and the like, which mean nothing for bytes."""


class _Array:
    """Stands for numpy.ndarray; `values` is the array."""

    values: NDArray[np.uint8] = np.empty(0, np.uint8)

    def __setstate__(self, state: tuple[int, tuple[int, ...], _Dtype, bool, bytes]) -> None:
        _version, shape, _dtype, fortran, data = state
        self.values = np.frombuffer(data, np.uint8).reshape(shape, order="F" if fortran else "C")


def _reconstruct(*_: object) -> _Array:
    """Stands for NumPy's function of that name: an empty array, whose state comes later."""
    return _Array()


def _frombuffer(data: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str) -> _Array:
    """Stands for NumPy's function of that name, which pickles of protocol 5 call."""
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", data))
    return array


def _encode(text: str, encoding: str) -> bytes:
    """Stands for codecs.encode, by which Python 3 writes bytes into a pickle for Python 2."""
    return text.encode("latin-1")


class _ArraysOnly(pickle.Unpickler):
    """Calls nothing but the stand-ins above, whatever the pickle asks for."""

    ALLOWED = {
        "numpy.ndarray": _Array,
        "numpy.dtype": _Dtype,
        "_codecs.encode": _encode,
        # numpy.core became numpy._core in NumPy 2.
        "numpy.core.multiarray._reconstruct": _reconstruct,
        "numpy._core.multiarray._reconstruct": _reconstruct,
        "numpy.core.numeric._frombuffer": _frombuffer,
        "numpy._core.numeric._frombuffer": _frombuffer,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.ALLOWED[f"{module}.{name}"]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not allowed") from None
