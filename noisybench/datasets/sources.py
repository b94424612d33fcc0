"""Where a data set comes from: the user's files in one of several layouts, or torchvision's download."""

import errno
import gzip
import tempfile
import zlib
from pathlib import Path
from typing import Protocol

from noisybench.datasets.dataset import Part
from noisybench.errors import DataError
from noisybench.files import temporary_folder

Parts = tuple[Part, Part]


class Layout(Protocol):
    """One way in which a data set lies on disk."""

    @property
    def expects(self) -> str:
        """What PATH must be, in words."""

    def read(self, path: Path) -> Parts | None:
        """The training and the test part, or None if `path` does not look like this layout.

        Raises DataError if it does, but is damaged or incomplete.
        """


def read(source: Path | None, torchvision_class: str, *layouts: Layout) -> Parts:
    """Read `source`, or what torchvision downloads if it is None, in the first layout that fits.

    Raises DataError.
    """
    expected = "".join(f"\n  - {layout.expects}" for layout in layouts)
    if source is None:
        # What is downloaded is read from the original files, as the user's own would be.
        with temporary_folder() as folder:
            _download(torchvision_class, folder, expected)
            return read(Path(folder), torchvision_class, *layouts)
    if not source.exists():
        raise DataError(f"{source} does not exist.")
    for layout in layouts:
        parts = layout.read(source)
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
