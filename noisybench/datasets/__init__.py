"""Data sets: images with labels, prepared once in the data home and loaded by name."""

from noisybench.datasets import builtin
from noisybench.datasets.dataset import Dataset, by
from noisybench.datasets.home import Prepared, add, data_home, identify, listing, load, verify

__all__ = [
    "Dataset",
    "Prepared",
    "add",
    "builtin",
    "by",
    "data_home",
    "identify",
    "listing",
    "load",
    "verify",
]
