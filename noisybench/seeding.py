"""Independent random streams from one seed.

Each use of randomness has a stream of its own, so that all losses at one seed see the same noisy
labels, the same split and the same initial weights, and comparisons are paired.  What belongs to an
epoch is derived from (seed, epoch): a resumed run needs no random state from the one that died.
"""

import numpy as np
from numpy.typing import NDArray

STREAMS = {
    "noise": 0,
    "subset": 1,
    "split": 2,
    "initialisation": 3,
    "order": 4,
    "open_set": 5,
    "second network": 6,
    "flip rates": 7,
    "instance weights": 8,
    "views": 9,
    "method": 10,
    "trusted": 11,
    "trusted batches": 12,
    "search": 20,
}


def generator(seed: int, stream: str, epoch: int = 0) -> np.random.Generator:
    """NumPy's generator of `stream` (a key of STREAMS) at `seed`, for one epoch where it has epochs."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, STREAMS[stream], epoch))))


def uniform_numbers(generator: np.random.Generator, n: int) -> NDArray[np.float64]:
    """n doubles in [0, 1) from the upper 53 bits of the raw stream, as `Generator.random` makes them."""
    raw = generator.bit_generator.random_raw(n)
    return np.asarray((raw >> np.uint64(11)) * 2.0**-53, dtype=np.float64)


def torch_seed(seed: int, stream: str) -> int:
    """A 63-bit seed for torch's generators, independent between streams."""
    return int(generator(seed, stream).bit_generator.random_raw()) >> 1
