"""The digits that come with scikit-learn, read without importing it, which takes seconds."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from noisybench.datasets.dataset import Part, Shape, checked_part
from noisybench.datasets.sources import Parts
from noisybench.errors import DataError

N_TEST = 500
LARGEST = 16  # a pixel counts the inked points in a 4×4 block of the original


def read_digits(source: Path | None, classes: tuple[str, ...], shape: Shape) -> Parts:
    """`sklearn.datasets.load_digits`, as the test part of Optical Recognition of Handwritten Digits
    (Alpaydin & Kaynak 1998, UCI): 1,797 grey images of 8×8 pixels from 0 to 16, scaled to 0 to 255.

    The last 500 are for testing: the file goes by writer, so most of their writers are new.
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
    images = np.rint(table[:, :-1] * (255 / LARGEST)).astype(np.uint8).reshape(-1, *shape)
    labels = table[:, -1].astype(np.int64)

    def part(rows: slice) -> Part:
        chosen = checked_part(str(path), images[rows], labels[rows], classes, shape)
        return Part(chosen.images, chosen.labels, np.arange(len(labels), dtype=np.int64)[rows])

    return part(slice(None, -N_TEST)), part(slice(-N_TEST, None))
