"""Noise: how training images come to their given labels; a transition matrix is lifted to a Noise.

No NumPy at module level: `noisybench --help` reads this module and every noise.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from noisybench.options import Option
from noisybench.registry import Bound

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from noisybench.datasets import Dataset
    from noisybench.labels.drawing import Corruption

Rows = list[list[float]]

INDEPENDENT, EXACT = "independent", "exact"

Rate = Annotated[float, Option("noise rate η, the fraction of labels affected", minimum=0, below=1)]
Draws = Annotated[
    str,
    Option(
        "independent: each label is drawn by itself; exact: round(η·n) labels of each class flip",
        choices=(INDEPENDENT, EXACT),
    ),
]
Seed = Annotated[int, Option("seed of noise, split, initial weights and order", minimum=0, maximum=2**32 - 1)]


@dataclass(frozen=True)
class CleanData:
    """What a noise may know of a training set.

    images: (n, h, w, c) uint8, in their prepared order.  labels: the clean ones, (n,) int64.  classes: their
    names.  flips: the data set's own map of class names, of which is mistaken for which; it may be empty.
    """

    images: "NDArray[np.uint8]"
    labels: "NDArray[np.int64]"
    classes: tuple[str, ...]
    flips: Mapping[str, str]

    @classmethod
    def of(cls, dataset: "Dataset", flips: Mapping[str, str]) -> "CleanData":
        return cls(dataset.train_images, dataset.train_labels, dataset.classes, flips)


class Noise:
    """A way to draw given labels.  Hyper-parameters are annotated fields with defaults; the first line of the
    docstring is the help text.  A hyper-parameter of the kind "data set" names one that the noise reads.

    draws: of the modes of `Draws`, those that the noise has.
    has_transition: whether the label of an image depends on its class alone, by a transition matrix.
    from_file: whether a file gives the labels, and so nothing is drawn.
    """

    draws: ClassVar[tuple[str, ...]] = (INDEPENDENT, EXACT)
    has_transition: ClassVar[bool] = False
    from_file: ClassVar[bool] = False

    def __init__(self, **hyper_parameters: Any) -> None:
        for name, value in hyper_parameters.items():
            setattr(self, name, value)

    @property
    def own_rate(self) -> float | None:
        """The rate of a noise that has only one, which --rate cannot change; None where --rate chooses it.
        Raises InputError."""
        return None

    def transition(self, rate: float, classes: tuple[str, ...], flips: Mapping[str, str]) -> Rows | None:
        """The rows of the transition matrix, or None for a noise without: ``T[i][j]`` is the probability that
        class i becomes class j.  rate: η in [0, 1)."""
        return None

    def draw(
        self, data: CleanData, rate: float, draws: str, random: "Callable[[str], np.random.Generator]"
    ) -> "Corruption":
        """The given labels of all training images.

        rate: η in [0, 1).  draws: one of `draws`.  random: from the name of a stream to NumPy's generator of
        it (see seeding.py), always the same at one seed; the numbers that NumPy promises never to change are
        those of `seeding.uniform_numbers`.  By default they are drawn from `transition`.  Raises InputError.
        """
        from noisybench.labels.drawing import Corruption, checked_matrix, corrupt_labels

        rows = self.transition(rate, data.classes, data.flips)
        if rows is None:
            raise NotImplementedError
        matrix = checked_matrix(rows, len(data.classes))
        return Corruption(corrupt_labels(data.labels, matrix, random("noise"), draws), matrix)


class MatrixNoise(Noise):
    """The noise of a function from the rate to the rows of a transition matrix: labels are drawn from it."""

    has_transition = True

    def __init__(self, bound: Bound[Any]) -> None:
        super().__init__()
        self.bound = bound

    def transition(self, rate: float, classes: tuple[str, ...], flips: Mapping[str, str]) -> Rows:
        rows: Rows = self.bound(rate, len(classes), classes=classes, flips=flips)
        return rows


def noise_of(bound: Bound[Any]) -> Noise:
    """The noise that a registered class or matrix function is, with its hyper-parameters."""
    if isinstance(bound.entry.definition, type):
        noise: Noise = bound()
        return noise
    return MatrixNoise(bound)
