"""Instance-dependent noise: which label an image gets depends on its pixels.

The generator of Xia et al. (2020), Part-dependent Label Noise, in the form of their public code, which later
work took over.  Image x of class y flips with its own probability q, drawn from the normal distribution with
mean η and standard deviation 0.1, cut off at 0 and 1.  Its label then is class j ≠ y with the probability

    q softmax_j(x W_y),    the softmax taken over the classes other than y,

with a matrix W_y (pixels × classes) of standard normal numbers for each class, and x the pixels from 0 to 1.
An image of many pixels has nearly one class to flip to.

What is decided here: pixels are scaled to [0, 1] (public code differs: some takes 0 to 255), and rate 0 is
clean, where the cut-off distribution has the mean 0.08.  The cut-off moves the mean of q at low and high
rates: at η = 0.1 it is 0.129, at 0.2 it is 0.206, and from 0.3 to 0.7 less than 0.001 away from η.

The last bits of x W_y differ between processors, so that an image at the edge between two classes can get
another label there.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar

from noisybench.labels.noise import INDEPENDENT, CleanData, Noise
from noisybench.registry import NOISES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from noisybench.labels.drawing import Corruption

DEVIATION = 0.1
CHUNK = 1024  # images at a time in float64


@NOISES.register("instance-dependent")
class InstanceDependent(Noise):
    """With a probability of each image, η on average, to a class that its pixels choose (Xia et al. 2020)."""

    draws: ClassVar[tuple[str, ...]] = (INDEPENDENT,)

    def draw(
        self, data: CleanData, rate: float, draws: str, random: "Callable[[str], np.random.Generator]"
    ) -> "Corruption":
        """The stream "flip rates" gives the place of each image among the flip rates, "instance weights" the
        matrices, "noise" whether an image flips, and where to.  So the labels that flip at one rate also flip
        at any higher rate from the same seed, and to the same classes."""
        import numpy as np

        from noisybench.labels.drawing import Corruption
        from noisybench.seeding import uniform_numbers

        n, n_classes = len(data.labels), len(data.classes)
        q = flip_rates(uniform_numbers(random("flip rates"), n), rate)
        stream = random("noise")
        flips = uniform_numbers(stream, n) >= 1 - q
        place = uniform_numbers(stream, n)
        given = data.labels.copy()
        transition = np.eye(n_classes)
        n_pixels = data.images[0].size
        for y, weights in enumerate(class_weights(random("instance weights"), n_pixels, n_classes)):
            members = np.flatnonzero(data.labels == y)
            if not len(members):
                continue
            targets, others = np.zeros(n_classes), np.delete(np.arange(n_classes), y)
            for rows in np.split(members, range(CHUNK, len(members), CHUNK)):
                shares = target_shares(data.images[rows], y, weights)
                targets += q[rows] @ shares
                # The last class takes what rounding leaves below 1.
                edges = np.cumsum(shares[:, others], axis=1)[:, :-1]
                picked = others[(edges <= place[rows, None]).sum(axis=1)]
                given[rows] = np.where(flips[rows], picked, y)
            transition[y] = targets / len(members)
            transition[y, y] = 1 - q[members].mean()
        return Corruption(given, transition)


def flip_rates(u: "NDArray[np.float64]", rate: float) -> "NDArray[np.float64]":
    """The flip rates (n,) at the places `u` (n,) in [0, 1) of their distribution; zeros at rate 0."""
    import numpy as np
    from scipy.special import ndtr, ndtri

    if rate == 0:
        return np.zeros(len(u))
    low, high = ndtr(-rate / DEVIATION), ndtr((1 - rate) / DEVIATION)
    return np.asarray((rate + DEVIATION * ndtri(low + u * (high - low))).clip(0, 1))


def class_weights(
    random: "np.random.Generator", n_pixels: int, n_classes: int
) -> "Iterator[NDArray[np.float64]]":
    """The matrix W_y (pixels, classes) of each class: standard normal numbers."""
    import numpy as np
    from scipy.special import ndtri

    from noisybench.seeding import uniform_numbers

    for _ in range(n_classes):
        u = uniform_numbers(random, n_pixels * n_classes)
        # The stream may give 0, where the quantile is infinite: half a step above is finite.
        yield ndtri(np.maximum(u, 2.0**-54)).reshape(n_pixels, n_classes)


def target_shares(
    images: "NDArray[np.uint8]", y: int, weights: "NDArray[np.float64]"
) -> "NDArray[np.float64]":
    """For images (n, h, w, c) of class `y` that flip, the probabilities (n, classes) of the classes that they
    flip to: the softmax over the classes other than y, and 0 for y."""
    import numpy as np

    scores = (images.reshape(len(images), -1) / 255.0) @ weights
    scores[:, y] = -np.inf
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
