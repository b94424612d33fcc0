"""The .npz files that we write: arrays and a JSON document, no pickle, whole or not at all."""

import io
import json
import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noisybench.errors import DataError
from noisybench.files import replacing

# What NumPy, zipfile and json raise for a damaged or foreign file, for pickled objects, for a header that is
# no Python literal, and for an array that claims to be larger than the memory.
UNREADABLE = (
    *(OSError, ValueError, KeyError, EOFError, RuntimeError, MemoryError, TypeError, OverflowError),
    *(SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
)

# The five arrays of a labels file of 25 million images; a compressed file of a megabyte can claim as much.
MAX_BYTES = 10**9


def encode(metadata: Mapping[str, Any], **arrays: NDArray[Any]) -> bytes:
    """The file of `arrays` and `metadata`.

    The same content gives the same bytes: members lie uncompressed and carry no time.
    """
    text = json.dumps(metadata, sort_keys=True, ensure_ascii=False, allow_nan=False)
    members: dict[str, Any] = {"metadata": np.array(text), **arrays}
    file = io.BytesIO()
    np.savez(file, **members)
    return file.getvalue()


def write(path: Path, content: bytes) -> None:
    """Write what `encode` made.  Raises DataError."""
    if not path.parent.is_dir():
        raise DataError(f"{path} cannot be written: there is no folder {path.parent}. Make it first.")
    try:
        with replacing(path) as file:
            file.write(content)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}.") from None


def read(path: Path, what: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The metadata and the arrays that `write` wrote to `path`.

    Raises DataError, saying that the file is not `what`, if it is not such a file.
    """
    try:
        with path.open("rb") as file:  # np.load would leave a damaged file open
            check_size(path, zipfile.ZipFile(file))
            file.seek(0)
            content = np.load(file, allow_pickle=False)
            arrays = {name: content[name] for name in content.files}
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise ValueError("a member is not an array")
        metadata = json.loads(str(arrays.pop("metadata")))
    except FileNotFoundError:
        raise DataError(f"There is no file {path}.") from None
    except UNREADABLE:
        # The messages of NumPy advise to unpickle.
        raise DataError(f"{path} is not {what}: it is not an undamaged .npz file of plain arrays.") from None
    if not isinstance(metadata, dict):
        raise DataError(f"{path} is not {what} (its metadata is not a JSON object).")
    return metadata, arrays


def check_size(path: Path, archive: zipfile.ZipFile) -> None:
    """Raise DataError if the members of `archive` unpack to more than MAX_BYTES."""
    size = sum(member.file_size for member in archive.infolist())
    if size > MAX_BYTES:
        raise DataError(f"{path} unpacks to {size:,} bytes; at most {MAX_BYTES:,} are read.")
