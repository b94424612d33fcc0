"""Data sets: images with labels, prepared once in the data home and loaded by name."""

from noisybench.datasets import builtin
from noisybench.datasets.dataset import Dataset, DatasetName, by
from noisybench.datasets.home import (
    Prepared,
    add,
    add_own,
    data_home,
    listing,
    load,
    prepared,
    remove,
    verify,
)
from noisybench.datasets.scan import LAYOUTS, Columns, OwnOptions

__all__ = [
    "LAYOUTS",
    "Columns",
    "Dataset",
    "DatasetName",
    "OwnOptions",
    "Prepared",
    "add",
    "add_own",
    "builtin",
    "by",
    "data_home",
    "listing",
    "load",
    "prepared",
    "remove",
    "verify",
]
