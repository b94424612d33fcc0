"""Images per second of augmented CIFAR-10 batches, against torchvision's DataLoader with PIL transforms."""

import numpy as np
import torch

from benchmarks import usual
from benchmarks.data import BATCH, TRAIN, cifar10
from benchmarks.hardware import synchronise
from benchmarks.timing import Row, compare
from noisybench.batches import PADDING, Images, epoch_steps, pixel_mean
from noisybench.sweeps.resources import cores

ROUNDS = 5
GOAL = 12


def measure() -> list[Row]:
    dataset = cifar10()
    images, labels = dataset.train_images[:TRAIN], dataset.train_labels[:TRAIN]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tensor = torch.from_numpy(images)
    source = Images(tensor, pixel_mean(tensor), device, PADDING)
    pictures = usual.loader(images, labels)

    def ours() -> None:
        for step in epoch_steps(np.arange(len(images)), BATCH, True, 0, 1, device):
            source.augmented(step)
        synchronise(device)

    def theirs() -> None:
        for batch, _ in pictures:
            batch.to(device, non_blocking=True)
        synchronise(device)

    row = compare(
        f"{len(images):,} of {dataset.name}, flip and crop",
        ours,
        f"DataLoader, PIL, {cores()} workers",
        theirs,
        ROUNDS,
        goal=GOAL,
        count=len(images) // BATCH * BATCH,
        unit="images",
    )
    return [row]
