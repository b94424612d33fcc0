"""Predictions in batches of the size that is used, against smaller and larger ones."""

from collections.abc import Callable

import torch

from benchmarks.hardware import synchronise
from benchmarks.setting import Setting
from benchmarks.timing import Row, alternate
from noisybench.batches import Images
from noisybench.training import evaluation

NETWORKS = ("cnn6", "resnet18(width=16)")
SIZES = (50, 125, 250, 500, 1000)
IMAGES = 2000
ROUNDS = 5


def measure() -> list[Row]:
    return [row for name in NETWORKS for row in network(name)]


def network(name: str) -> list[Row]:
    setting = Setting.of(name)
    training = setting.training
    name_of_size = "ON_CPU" if training.device.type == "cpu" else "ELSEWHERE"
    used = getattr(evaluation, name_of_size)
    images = Images(torch.from_numpy(setting.dataset.test_images[:IMAGES]), training.mean, training.device)

    def in_batches(size: int) -> Callable[[], None]:
        def act() -> None:
            setattr(evaluation, name_of_size, size)
            training._predict(images)
            synchronise(training.device)

        return act

    try:
        seconds = alternate({str(size): in_batches(size) for size in SIZES}, ROUNDS)
    finally:
        setattr(evaluation, name_of_size, used)
    ours = seconds[str(used)]
    return [
        Row(f"{name}, batches of {used}", ours, f"of {size}", seconds[str(size)], unit="images", count=IMAGES)
        for size in SIZES
        if size != used
    ]
