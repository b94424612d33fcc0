"""Training end to end against a plain PyTorch loop in float32 over a DataLoader, and what our input takes."""

from collections.abc import Callable, Iterator
from itertools import chain, count, islice
from typing import TypeVar

import numpy as np
import torch

from benchmarks import usual
from benchmarks.data import BATCH, cifar10
from benchmarks.hardware import synchronise
from benchmarks.timing import Goal, Row, alternate
from noisybench.batches import epoch_steps
from noisybench.config import Config
from noisybench.corruption import corrupt
from noisybench.registry import MODELS
from noisybench.split import split
from noisybench.training.device import choose_device, choose_precision, set_up
from noisybench.training.loop import Sums, Training

Item = TypeVar("Item")

# A network and the steps of a round on a CPU.
NETWORKS = {"resnet34": 1, "cnn6": 4, "resnet18(width=16)": 10}
ROUNDS = 4
INPUT_GOAL = 0.03
GOALS = {
    ("cpu", "fp32"): {"resnet34": 1.15, "cnn6": 1.15},
    ("cpu", "bf16"): {"resnet34": 2.2, "cnn6": 2.8},
    ("cuda", "bf16"): {"resnet34": 10},
}


def measure() -> list[Row]:
    device = choose_device("auto")
    precision = choose_precision("auto", device)
    goals = GOALS.get((device.type, precision), {})
    rows = []
    for name, steps in NETWORKS.items():
        rows += network(
            name, steps * (50 if device.type == "cuda" else 1), device, precision, goals.get(name)
        )
    return rows


def network(name: str, n: int, device: torch.device, precision: str, goal: float | None) -> list[Row]:
    """n steps a round of cce on CIFAR-10 with 40 % uniform noise, and as many without the network."""
    config = Config.create(dataset="cifar10", loss="cce", model=name, rate=0.4)
    dataset = cifar10()
    drawn = corrupt(config, dataset.train_labels)
    cut = split(config, dataset, drawn.given)
    set_up(device, precision)
    training = Training(config, dataset, cut, drawn.transition, device, precision)
    training.model.train()
    sums = Sums(device)
    model = MODELS.bind(name)(dataset.shape, dataset.n_classes).to(device)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    loader = usual.loader(dataset.train_images[cut.train], drawn.given[cut.train])
    steps = endless(lambda epoch: epoch_steps(np.arange(len(cut.train)), BATCH, True, 0, epoch, device))
    batches = endless(lambda epoch: iter(loader))

    def our_steps() -> None:
        for step in islice(steps, n):
            training._step(step, sums)
        synchronise(device)

    def our_input() -> None:
        for step in islice(steps, n):
            training.train_images.augmented(step)
        synchronise(device)

    def usual_steps() -> None:
        usual.train(model, optimiser, islice(batches, n), device)
        synchronise(device)

    seconds = alternate({"ours": our_steps, "input": our_input, "usual": usual_steps}, ROUNDS)
    images = {"unit": "images", "count": n * BATCH}
    return [
        Row(
            f"{name}, {precision}",
            seconds["ours"],
            "plain loop, fp32",
            seconds["usual"],
            None if goal is None else Goal("speed-up", goal),
            **images,
        ),
        Row(
            f"input of {name}",
            seconds["input"],
            "its steps",
            seconds["ours"],
            Goal("cost", INPUT_GOAL),
            "cost",
            **images,
        ),
    ]


def endless(epoch: Callable[[int], Iterator[Item]]) -> Iterator[Item]:
    """What one epoch gives after the other."""
    return chain.from_iterable(epoch(number) for number in count(1))
