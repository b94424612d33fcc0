"""What a step of a small network costs beside a bare loop over the same batches, already augmented."""

from collections.abc import Callable

import torch
from torch.nn.functional import cross_entropy

from benchmarks.timing import Row, compare
from noisybench import datasets
from noisybench.config import Config
from noisybench.inputs import corrupt
from noisybench.split import split
from noisybench.training.loop import Training

NETWORKS = ("mlp", "resnet8(width=8)")
STEPS, ROUNDS = 10, 41


def measure() -> list[Row]:
    torch.set_num_threads(1)
    return [network(name) for name in NETWORKS]


def network(name: str) -> Row:
    """Steps of cce on digits."""
    config = Config.create(dataset="digits", model=name, rate=0.4)
    digits = datasets.load("digits")
    drawn = corrupt(config, digits)
    ours, bare = (
        Training(config, digits, split(config, digits, drawn.given), drawn.transition, torch.device("cpu"))
        for _ in range(2)
    )
    for training in (ours, bare):
        training.begin(1)
    steps = list(ours.steps(1))[:STEPS]
    steps *= STEPS // len(steps)
    batches = [(bare.train_images.augmented(step), bare.given[step.rows]) for step in steps]

    def bare_loop() -> None:
        for images, given in batches:
            bare.optimiser.zero_grad()
            cross_entropy(bare.model(images), given).backward()
            bare.optimiser.step()

    act: Callable[[], None] = lambda: ours.take(steps)  # noqa: E731
    what = f"a step of {name} on digits, with input and measurement"
    return compare(what, act, "a bare loop", bare_loop, ROUNDS, kind="cost", count=len(steps), unit="steps")
