"""Batches of images that live on the device as uint8, augmented a whole batch at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noisybench.seeding import generator

PADDING = 4


def pixel_mean(images: Tensor) -> Tensor:
    """The per-pixel mean of uint8 images (n, h, w, c), in [0, 1]: float32 of shape (h, w, c)."""
    total = sum(chunk.sum(dim=0, dtype=torch.int64) for chunk in torch.split(images, 4096))
    return (torch.as_tensor(total, dtype=torch.float64) / (255 * len(images))).float()


class Images:
    """uint8 images on a device, with the mean that is subtracted from them.

    images: (n, h, w, c), uint8.  mean: (h, w, c), float32, for images in [0, 1].
    Batches come out as float32 of shape (b, c, h, w) in channels_last memory format.
    """

    def __init__(self, images: Tensor, mean: Tensor, device: torch.device, padding: int = 0) -> None:
        def pad(x: Tensor) -> Tensor:
            return torch.nn.functional.pad(x, (0, 0, padding, padding, padding, padding))

        self.height, self.width = images.shape[1:3]
        self.padding = padding
        # The border of images and mean is 0, so a padded pixel is 0 once the mean is subtracted:
        # the same as padding after subtraction, at a quarter of the memory.
        self.images = pad(images).to(device)
        self.mean = pad(mean).to(device)

    def __len__(self) -> int:
        return len(self.images)

    def plain(self, start: int, stop: int) -> Tensor:
        """Images start to stop, unaugmented."""
        p = self.padding
        inside = (slice(p, p + self.height), slice(p, p + self.width))
        batch = self.images[start:stop, *inside].float().div_(255).sub_(self.mean[inside])
        return batch.permute(0, 3, 1, 2)

    def augmented(self, step: "Step") -> Tensor:
        """The images of a training step, shifted and flipped as it says: an index gather.

        Without padding there is no augmentation, and they are as they are.
        """
        if not self.padding:
            return self.images[step.rows].float().div_(255).sub_(self.mean).permute(0, 3, 1, 2)
        padded_width = self.images.shape[2]
        y = torch.arange(self.height, device=step.rows.device) + step.shift[:, :1]
        x = torch.arange(self.width, device=step.rows.device).expand(len(step.rows), -1)
        x = torch.where(step.flip[:, None], self.width - 1 - x, x) + step.shift[:, 1:]
        pixel = y[:, :, None] * padded_width + x[:, None, :]
        index = pixel + (step.rows * self.images.shape[1] * padded_width)[:, None, None]
        channels = self.images.shape[3]
        batch = self.images.view(-1, channels)[index].float().div_(255)
        return batch.sub_(self.mean.view(-1, channels)[pixel]).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Step:
    """One training step: rows (b,) of the training images, shift (b, 2) of rows and columns in
    pixels, and flip (b,), all on the device."""

    rows: Tensor
    shift: Tensor
    flip: Tensor


def epoch_steps(
    rows: NDArray[np.int64], batch_size: int, augment: bool, seed: int, epoch: int, device: torch.device
) -> Iterator[Step]:
    """The steps of one epoch over `rows` in random order, derived from (seed, epoch) alone.

    All batches have `batch_size` rows: the remainder of the random order waits for another epoch,
    unless there are fewer rows than one batch.
    """
    random = generator(seed, "order", epoch)
    order = rows[random.permutation(len(rows))]
    n_steps = max(1, len(rows) // batch_size)
    order = order[: n_steps * batch_size]
    # Drawn for the whole epoch at once and moved to the device at once.
    shift = random.integers(0, 2 * PADDING + 1, size=(len(order), 2))
    flip = random.integers(0, 2, size=len(order), dtype=np.bool_)
    if not augment:
        shift[:], flip[:] = 0, False
    on_device = [torch.split(torch.from_numpy(a).to(device), batch_size) for a in (order, shift, flip)]
    return (Step(*parts) for parts in zip(*on_device, strict=True))
