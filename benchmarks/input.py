"""Images per second of augmented CIFAR-10 batches, against torchvision's DataLoader with PIL transforms."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from benchmarks.data import BATCH, cifar10
from benchmarks.hardware import cores
from benchmarks.timing import Row, compare
from noisybench.batches import PADDING, Images, epoch_steps, pixel_mean

ROUNDS = 5
GOAL = 12


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """What torchvision.datasets.CIFAR10 does with an image and the usual transforms."""

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        from torchvision import transforms

        self.images, self.labels = images, labels
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, PADDING),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.images[row])), int(self.labels[row])


def loader(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> DataLoader[tuple[torch.Tensor, int]]:
    """The usual way: shuffled, a worker for each core that stays for the next epoch."""
    return DataLoader(
        Pictures(images, labels),
        BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=cores(),
        persistent_workers=True,
        pin_memory=torch.cuda.is_available(),
    )


def measure() -> list[Row]:
    images, labels = cifar10()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tensor = torch.from_numpy(images)
    ours = Images(tensor, pixel_mean(tensor), device, PADDING)
    rows = np.arange(len(images))
    usual = loader(images, labels)

    def epoch() -> None:
        for step in epoch_steps(rows, BATCH, True, 0, 1, device):
            ours.augmented(step)
        if device.type == "cuda":
            torch.cuda.synchronize()

    def usual_epoch() -> None:
        for batch, _ in usual:
            batch.to(device, non_blocking=True)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return [
        compare(
            f"{len(images):,} images, flip and crop, batch {BATCH}",
            epoch,
            f"DataLoader, PIL, {cores()} workers",
            usual_epoch,
            ROUNDS,
            goal=GOAL,
            count=len(images),
            unit="images",
        )
    ]
