"""What the benchmarks of training train: cce on CIFAR-10 with 40 % uniform noise."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, count
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import BATCH, cifar10
from noisybench.batches import Step, epoch_steps
from noisybench.config import Config
from noisybench.datasets import Dataset
from noisybench.inputs import corrupt
from noisybench.split import split
from noisybench.training.device import choose_device, choose_precision, set_up
from noisybench.training.loop import Training

Item = TypeVar("Item")

# A network, and the steps that are timed as one on a CPU; on a GPU, so many times more.
NETWORKS = {"resnet34": 1, "cnn6": 4, "resnet18(width=16)": 10}
ON_GPU = 50


@dataclass(frozen=True)
class Setting:
    """A training on the best device, its endless steps, and n of them as a round.

    rows: (m,), of the data set's images, those trained on; given: (m,), their noisy labels.
    """

    training: Training
    steps: Iterator[Step]
    n: int
    dataset: Dataset
    rows: NDArray[np.int64]
    given: NDArray[np.int64]

    @classmethod
    def of(cls, name: str) -> "Setting":
        """With the network called `name`, one of NETWORKS."""
        device = choose_device("auto")
        precision = choose_precision("auto", device)
        set_up(device, precision)
        config = Config.create(dataset="cifar10", loss="cce", model=name, rate=0.4)
        dataset = cifar10()
        drawn = corrupt(config, dataset)
        cut = split(config, dataset, drawn.given)
        training = Training(config, dataset, cut, drawn.transition, device, precision)
        order = np.arange(len(cut.train))
        steps = endless(lambda epoch: epoch_steps(order, BATCH, True, 0, epoch, device))
        n = NETWORKS[name] * (ON_GPU if device.type == "cuda" else 1)
        return cls(training, steps, n, dataset, cut.train, drawn.given[cut.train])


def endless(epoch: Callable[[int], Iterator[Item]]) -> Iterator[Item]:
    """What one epoch gives after the other."""
    return chain.from_iterable(epoch(number) for number in count(1))
