"""The images that benchmarks run on: real ones where they are prepared."""

import numpy as np
from numpy.typing import NDArray

from noisybench.errors import DataError

BATCH = 128


def cifar10(n: int = 45_000) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """n training images (n, 32, 32, 3) of CIFAR-10 and their labels (n,); random ones if it is not prepared."""
    from noisybench import datasets

    try:
        dataset = datasets.load("cifar10")
    except DataError:
        random = np.random.default_rng(0)
        return random.integers(0, 256, (n, 32, 32, 3), np.uint8), random.integers(0, 10, n)
    return dataset.train_images[:n], dataset.train_labels[:n]
