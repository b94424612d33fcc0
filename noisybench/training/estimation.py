"""Estimating the transition matrix of the noise from a network trained on noisy labels."""

import numpy as np
from numpy.typing import NDArray

# Patrini et al. leave the rule out where classes have few samples each, as those of CIFAR-100.
MANY_CLASSES = 100
OUTLYING = 97  # the percentile of a class's scores from which they are not trusted


def estimate_transition(softmax: NDArray[np.float64]) -> NDArray[np.float64]:
    """T̂ of shape (classes, classes), from the softmax (n, classes) of unaugmented training images.

    Row i is the softmax of the sample that looks most like class i: the one of the highest score for i
    among those below the 97th percentile of these scores; of 100 classes and more, among all.  A row
    may be that of a sample of another class: it is left as it is (Patrini et al. 2017, section 3.2 and
    their published code).
    """
    scores = softmax.copy()
    if softmax.shape[1] < MANY_CLASSES:
        scores[scores >= np.percentile(scores, OUTLYING, axis=0, method="higher")] = -1
    rows = softmax[scores.argmax(axis=0)]
    return np.asarray(rows / rows.sum(axis=1, keepdims=True))
