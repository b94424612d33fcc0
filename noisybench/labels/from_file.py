"""The noises that a file gives: the labels themselves, or the transition matrix that they are drawn from.

No NumPy here: `noisybench --help` reads this module.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from noisybench.errors import DataError, InvalidValue
from noisybench.files import located
from noisybench.labels.noise import INDEPENDENT, Noise, Rows
from noisybench.options import Option
from noisybench.registry import NOISES
from noisybench.yaml_files import read_yaml

Key = Annotated[str, Option("which labels: their key in the file, or the file's name", cli=False)]

# How far the sum of a row may be from 1: numbers with six digits.
ROUNDING = 1e-4


@NOISES.register("file")
class FromFile(Noise):
    """The labels are those of a file, given by --labels; the rate is the fraction known to be wrong."""

    draws: ClassVar[tuple[str, ...]] = (INDEPENDENT,)
    from_file: ClassVar[bool] = True

    key: Key = ""


def read_rows(text: str) -> str:
    """The canonical form of a transition matrix: ``0.9 0.1; 0.2 0.8``, a row for each true class.

    text: such rows, or the path of a CSV or YAML file with a row of numbers for each class, in the order of
    the data set's labels.  The content of the file then is the matrix, so that its name is no part of a run's
    identity.  Raises InvalidValue or DataError.
    """
    if not text.strip():
        return ""
    is_file = ";" not in text
    where = text if is_file else "rows"
    rows = _rows_of(text) if is_file else [row.split() for row in text.split(";")]
    try:
        numbers = [[float(value) for value in row] for row in rows]
    except (TypeError, ValueError):
        raise InvalidValue(
            f"{where} must hold numbers only, without names: a row for each true class, and in it the"
            " probability of each given class."
        ) from None
    if len(numbers) < 2 or any(len(row) != len(numbers) for row in numbers):
        raise InvalidValue(
            f"{where} has {len(numbers)} rows, and must have as many numbers in each, 2 or more."
        )
    for number, row in enumerate(numbers):
        if not all(0 <= value <= 1 for value in row) or abs(sum(row) - 1) > ROUNDING:
            raise InvalidValue(
                f"{where}: the row of class {number} sums to {math.fsum(row):.6g}, but must hold"
                " probabilities that sum to 1."
            )
    if not any(row[number] for number, row in enumerate(numbers)):
        raise InvalidValue(f"{where}: the diagonal is zero, so that no label would be right.")
    return "; ".join(" ".join(repr(value + 0).removesuffix(".0") for value in row) for row in numbers)


def _rows_of(text: str) -> list[list[Any]]:
    """The rows of a CSV or YAML file as they are written."""
    path = located(text)
    if path.suffix.lower() in (".yaml", ".yml"):
        rows = read_yaml(path)
        if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
            raise DataError(f"{path} must be a list of rows, such as [[0.9, 0.1], [0.2, 0.8]].")
        return rows
    if path.suffix.lower() != ".csv":
        raise InvalidValue(
            f"rows is '{text}', but must be a .csv or .yaml file, or rows such as '0.9 0.1; 0.2 0.8'."
        )
    import csv

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [row for row in csv.reader(file) if row]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None


Matrix = Annotated[
    str,
    Option(
        "transition matrix: a CSV or YAML file with a row for each true class, without names",
        parse=read_rows,
    ),
]


@NOISES.register("matrix")
class FixedMatrix(Noise):
    """Labels are drawn from a transition matrix of your own, --rows FILE, whose rate is the noise's."""

    has_transition: ClassVar[bool] = True

    rows: Matrix = ""

    @property
    def matrix(self) -> Rows:
        """The rows as numbers, each divided by its sum.  Raises InvalidValue without any."""
        if not self.rows:
            raise InvalidValue("noise is matrix, whose transition matrix is in a file: give --rows FILE.")
        rows = [[float(value) for value in row.split()] for row in self.rows.split(";")]
        return [[value / math.fsum(row) for value in row] for row in rows]

    @property
    def own_rate(self) -> float:
        """The fraction of wrong labels where each class is as frequent as any other."""
        wrong = [1 - row[number] for number, row in enumerate(self.matrix)]
        return round(math.fsum(wrong) / len(wrong), 6)

    def transition(self, rate: float, classes: tuple[str, ...], flips: Mapping[str, str]) -> Rows:
        if len(self.matrix) != len(classes):
            raise InvalidValue(
                f"The transition matrix has {len(self.matrix)} rows, but there are {len(classes)} classes."
            )
        return self.matrix
