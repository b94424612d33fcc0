"""Independent random streams from one seed.

Each use of randomness has a stream of its own, so that all losses at one seed see the same noisy
labels, the same split and the same initial weights, and comparisons are paired.  What belongs to an
epoch is derived from (seed, epoch): a resumed run needs no random state from the one that died.
"""

import numpy as np

STREAMS = {"noise": 0, "subset": 1, "split": 2, "initialisation": 3, "order": 4, "foreign": 5}


def generator(seed: int, stream: str, epoch: int = 0) -> np.random.Generator:
    """NumPy's generator of `stream` (a key of STREAMS) at `seed`, for one epoch where it has epochs."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, STREAMS[stream], epoch))))


def torch_seed(seed: int, stream: str) -> int:
    """A 63-bit seed for torch's generators, independent between streams."""
    return int(generator(seed, stream).bit_generator.random_raw()) >> 1
