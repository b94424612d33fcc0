"""Marks of a person who looked at the page of suspects: read, and labels corrected by them."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noisybench.datasets import Dataset
from noisybench.diagnosis.observing import Labels
from noisybench.errors import DataError

COLUMNS = ("row", "given", "mark", "label")
RIGHT, WRONG, NO_CLASS = "right", "wrong", "none"


@dataclass(frozen=True, eq=False)
class Marks:
    """What a person says of some training images.

    rows: (k,), of the data set's training images in their prepared order.  labels: (k,), their right
    labels; those of images of no class are as given.  belongs: (k,), False for images of no class.
    n_wrong: labels marked wrong.
    """

    rows: Labels
    labels: Labels
    belongs: NDArray[np.bool_]
    n_wrong: int

    def corrected(self, given: Labels) -> Labels:
        """The labels (n,) of all training images, with those marked wrong replaced."""
        labels = given.copy()
        labels[self.rows] = self.labels
        return labels

    def kept(self, keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The mask (n,) of images to keep: what a person looked at is kept, but for images of no class."""
        kept = keep.copy()
        kept[self.rows] = self.belongs
        return kept


def read(path: Path, dataset: Dataset, given: Labels) -> Marks:
    """The marks in a file that the page exported.  Raises DataError unless they fit these given labels."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            found = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as marks: {error}.") from None
    if not found or not set(COLUMNS) <= found[0].keys():
        raise DataError(f"{path} has no marks: export them from page.html (columns {', '.join(COLUMNS)}).")
    numbers = {name: number for number, name in enumerate(dataset.classes)}
    rows, labels = [], []
    for line, mark in enumerate(found, 2):
        row = int(mark["row"]) if (mark["row"] or "").isdecimal() else len(given)
        if row >= len(given) or numbers.get(mark["given"]) != given[row]:
            raise DataError(f"{path}, line {line}: image {mark['row']} is not labelled {mark['given']} here.")
        label = mark["label"] if mark["mark"] == WRONG else mark["given"]
        if mark["mark"] not in (RIGHT, WRONG, NO_CLASS) or label not in numbers:
            raise DataError(
                f"{path}, line {line}: a mark is {RIGHT}, {NO_CLASS}, or {WRONG} with a class as label."
            )
        rows.append(row)
        labels.append(numbers[label])
    return Marks(
        rows=np.array(rows, np.int64),
        labels=np.array(labels, np.int64),
        belongs=np.array([mark["mark"] != NO_CLASS for mark in found]),
        n_wrong=sum(mark["mark"] == WRONG for mark in found),
    )


def as_csv(labels: Labels, dataset: Dataset) -> bytes:
    """The labels of all training images, by their names, as a file for `train --labels`."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("source_index", "label"))
    names = (dataset.classes[label] for label in labels)
    writer.writerows(zip(dataset.train_index.tolist(), names, strict=True))
    return file.getvalue().encode()
