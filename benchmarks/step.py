"""Training end to end against a plain PyTorch loop in float32 over a DataLoader, and what our input takes.

On a CPU: on CUDA, workers would prepare images during our turn, and the plain loop would have our settings of
cuDNN, so that `benchmarks.gpu` compares whole epochs in processes of their own.
"""

import sys
from itertools import islice

import torch

from benchmarks import usual
from benchmarks.data import BATCH
from benchmarks.setting import NETWORKS, Setting, endless
from benchmarks.timing import Goal, Row, alternate
from noisybench.registry import MODELS

ROUNDS = 4
INPUT_GOAL = 0.03
GOALS = {
    "fp32": {"resnet34": 1.15, "cnn6": 1.15},
    "bf16": {"resnet34": 2.2, "cnn6": 2.8},
}


def measure() -> list[Row]:
    if torch.cuda.is_available():
        print("On CUDA, type: python -m benchmarks gpu", file=sys.stderr)
        return []
    return [row for name in NETWORKS for row in network(name)]


def network(name: str) -> list[Row]:
    """Some steps a round, and as many without the network."""
    setting = Setting.of(name)
    training, steps, n, device = setting.training, setting.steps, setting.n, setting.training.device
    goal = GOALS[training.precision].get(name)
    training.model.train()
    dataset = setting.dataset
    model = MODELS.bind(name)(dataset.shape, dataset.n_classes).to(device)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    loader = usual.loader(dataset.train_images[setting.rows], setting.given)
    batches = endless(lambda epoch: iter(loader))

    def our_steps() -> None:
        for step in islice(steps, n):
            training._step(step)

    def our_input() -> None:
        for step in islice(steps, n):
            training.train_images.augmented(step)

    def usual_steps() -> None:
        usual.train(model, optimiser, islice(batches, n), device)

    seconds = alternate({"ours": our_steps, "input": our_input, "usual": usual_steps}, ROUNDS)
    images = {"unit": "images", "count": n * BATCH}
    return [
        Row(
            f"{name}, {training.precision}",
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
