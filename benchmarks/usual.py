"""What a user would run instead: torchvision's way with images, and a plain PyTorch training loop."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.data import BATCH
from noisybench.batches import PADDING
from noisybench.sweeps.resources import cores

# Of the channels of CIFAR-10.
MEAN = (0.4914, 0.4822, 0.4465)

Loader = DataLoader[tuple[Tensor, int]]


class Pictures(Dataset[tuple[Tensor, int]]):
    """What torchvision.datasets.CIFAR10 does with an image, and the usual transforms.

    mean: (channels, h, w), subtracted before the crop, as the protocol here has it; by default, that of
    each channel after it, as is usual.
    """

    def __init__(
        self, images: NDArray[np.uint8], labels: NDArray[np.int64], mean: Tensor | None = None
    ) -> None:
        from torchvision import transforms

        self.images, self.labels = images, labels
        augment = [transforms.RandomCrop(images.shape[1], PADDING), transforms.RandomHorizontalFlip()]
        if mean is None:
            steps = [*augment, transforms.ToTensor(), transforms.Normalize(MEAN, (1.0, 1.0, 1.0))]
        else:
            steps = [transforms.ToTensor(), transforms.Lambda(lambda image: image - mean), *augment]
        self.transform = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.images[row])), int(self.labels[row])


def loader(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    mean: Tensor | None = None,
    workers: int | None = None,
) -> Loader:
    """Shuffled, with workers that stay for the next epoch, by default one for each core."""
    return DataLoader(
        Pictures(images, labels, mean),
        BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=cores() if workers is None else workers,
        persistent_workers=True,
        pin_memory=torch.cuda.is_available(),
    )


def train(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    batches: Iterable[tuple[Tensor, Tensor]],
    device: torch.device,
) -> float:
    """The steps of an epoch in float32; the mean loss, for which each step waits."""
    model.train()
    losses = []
    for images, labels in batches:
        logits = model(images.to(device, non_blocking=True))
        loss = nn.functional.cross_entropy(logits, labels.to(device, non_blocking=True))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    return float(np.mean(losses))


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor, device: torch.device) -> float:
    """The fraction of images (n, channels, h, w) that the network gets right."""
    model.eval()
    right = 0
    for batch, target in zip(images.split(BATCH), labels.split(BATCH), strict=True):
        right += int((model(batch.to(device)).argmax(dim=1).cpu() == target).sum())
    return right / len(labels)
