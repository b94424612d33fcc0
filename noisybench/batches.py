"""Batches of images that live on the device as uint8, augmented a whole batch at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noisybench.seeding import generator

PADDING = 4
CHUNK = 4096  # images


def pixel_mean(images: Tensor) -> Tensor:
    """The per-pixel mean of uint8 images (n, h, w, c), in [0, 1]: float32 of shape (h, w, c)."""
    total = sum(chunk.sum(dim=0, dtype=torch.int64).cpu() for chunk in torch.split(images, CHUNK))
    return (torch.as_tensor(total, dtype=torch.float64) / (255 * len(images))).float()


class Images:
    """uint8 images on a device, with the mean that is subtracted from them.

    images: (n, h, w, c), uint8, such as a file mapped into memory: they are copied at most once.  mean:
    (h, w, c), float32, for images in [0, 1], or the function that takes it from them.  padding: the largest
    shift of an augmented image, in pixels.  rows: (n,) int64, the images to take; None: all.
    Batches come out as float32 of shape (b, c, h, w) in channels_last memory format.
    """

    def __init__(
        self,
        images: Tensor,
        mean: Tensor | Callable[[Tensor], Tensor],
        device: torch.device,
        padding: int = 0,
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        self.shape = images.shape[1:]
        self.padding = padding
        self.device = device
        # CUDA multiplies by the reciprocal of a number, which rounds other than a division by a tensor.
        self.white = torch.full((), 255.0, device=device)
        # The border of images and mean is 0, so a padded pixel is 0 once the mean is subtracted:
        # the same as padding after subtraction, at a quarter of the memory.
        self.images = self._copied(images, rows) if padding or rows is not None else images.to(device)
        self.mean = (mean if isinstance(mean, Tensor) else mean(self._inside(self.images))).to(device)
        self.windows = self._windows(self.images)
        padded = torch.nn.functional.pad(self.mean, (0, 0, padding, padding, padding, padding))
        means = self._windows(padded[None]).reshape(-1, *self.shape)
        # A row for each flip and shift, in the order of the index below.
        self.means = torch.stack([means, means.flip(2)]).flatten(0, 1).flatten(1).to(device)

    def __len__(self) -> int:
        return len(self.images)

    def _copied(self, images: Tensor, rows: NDArray[np.int64] | None) -> Tensor:
        """The images on the device, with their border: the only copy, made in small parts."""
        height, width, channels = self.shape
        n, border = len(images) if rows is None else len(rows), 2 * self.padding
        shape = (n, height + border, width + border, channels)
        copy = torch.zeros(shape, dtype=torch.uint8, device=self.device)
        inside = self._inside(copy)
        for start in range(0, n, CHUNK):
            part = slice(start, min(start + CHUNK, n))
            taken = images[part] if rows is None else images[torch.from_numpy(rows[part])]
            inside[part] = taken.to(self.device)
        return copy

    def _inside(self, padded: Tensor) -> Tensor:
        """Images without their border: a view."""
        p, (height, width, _) = self.padding, self.shape
        return padded[:, p : p + height, p : p + width]

    def _windows(self, padded: Tensor) -> Tensor:
        """All crops of padded images, (n, shifts down, shifts right, h, w * c): a view, not a copy."""
        height, width, channels = self.shape
        image, row, pixel, value = padded.stride()
        shifts = 2 * self.padding + 1
        shape = (len(padded), shifts, shifts, height, width * channels)
        return padded.as_strided(shape, (image, row, pixel, row, value))

    def plain(self, start: int, stop: int) -> Tensor:
        """Images start to stop, unaugmented."""
        return self._scaled(self._inside(self.images[start:stop]), self.mean)

    def augmented(self, step: "Step") -> Tensor:
        """The images of a training step, shifted and flipped as it says; without padding, as they are."""
        if not self.padding:
            return self._scaled(self.images.index_select(0, step.rows), self.mean)
        down, right = step.shift.unbind(1)
        pixels = self._on_cpu(step) if self.device.type == "cpu" else self._on_accelerator(step)
        shifts = 2 * self.padding + 1
        mean = self.means.index_select(0, (step.flip * shifts + down) * shifts + right)
        return self._scaled(pixels, mean.view(pixels.shape))

    def _scaled(self, pixels: Tensor, mean: Tensor) -> Tensor:
        return pixels.float().div_(self.white).sub_(mean).permute(0, 3, 1, 2)

    def _on_cpu(self, step: "Step") -> Tensor:
        # NumPy copies a window row by row, torch pixel by pixel: ten times as slow.
        index = (step.rows, *step.shift.unbind(1))
        pixels = self.windows.numpy()[tuple(part.numpy() for part in index)].reshape(-1, *self.shape)
        flip = step.flip.numpy()
        # Torch has a kernel of its own for images in channels_last.
        flipped = torch.from_numpy(pixels[flip]).permute(0, 3, 1, 2).flip(3)
        pixels[flip] = flipped.permute(0, 2, 3, 1).numpy()
        return torch.from_numpy(pixels)

    def _on_accelerator(self, step: "Step") -> Tensor:
        # No host waits for it: nothing here depends on how many images are flipped.
        pixels = self.windows[(step.rows, *step.shift.unbind(1))].view(-1, *self.shape)
        return torch.where(step.flip[:, None, None, None], pixels.flip(2), pixels)


@dataclass(frozen=True)
class Step:
    """One training step: rows (b,) of the training images, shift (b, 2) of rows and columns in
    pixels, and flip (b,), all on the device.

    views: the same rows under other shifts and flips.  random: (b, k) float32 for the method, in [0, 1).
    trusted: a step of as many trusted rows.
    """

    rows: Tensor
    shift: Tensor
    flip: Tensor
    views: "tuple[Step, ...]" = ()
    random: Tensor | None = None
    trusted: "Step | None" = None

    def clone(self) -> "Step":
        """The same step in memory of its own."""
        random = None if self.random is None else self.random.clone()
        views = tuple(view.clone() for view in self.views)
        trusted = None if self.trusted is None else self.trusted.clone()
        return Step(self.rows.clone(), self.shift.clone(), self.flip.clone(), views, random, trusted)

    def copy_(self, other: "Step") -> None:
        """Become another step of the same shape, in the same memory."""
        for name in ("rows", "shift", "flip"):
            getattr(self, name).copy_(getattr(other, name))
        for ours, view in zip(self.views, other.views, strict=True):
            ours.copy_(view)
        if self.random is not None and other.random is not None:
            self.random.copy_(other.random)
        if self.trusted is not None and other.trusted is not None:
            self.trusted.copy_(other.trusted)


def epoch_steps(
    rows: NDArray[np.int64],
    batch_size: int,
    augment: bool,
    seed: int,
    epoch: int,
    device: torch.device,
    views: int = 0,
    random_numbers: int = 0,
    trusted: NDArray[np.int64] | None = None,
) -> Iterator[Step]:
    """The steps of one epoch over `rows` in random order, derived from (seed, epoch) alone.

    views: how many further augmentations each step has; random_numbers: k of `Step.random`;
    trusted: the rows that `Step.trusted` draws from.
    All batches have `batch_size` rows: the remainder of the random order waits for another epoch,
    unless there are fewer rows than one batch.
    """
    random = generator(seed, "order", epoch)
    order = rows[random.permutation(len(rows))]
    n_steps = max(1, len(rows) // batch_size)
    order = order[: n_steps * batch_size]

    def split(values: NDArray[Any]) -> tuple[Tensor, ...]:
        return torch.split(torch.from_numpy(values).to(device), batch_size)

    # Drawn for the whole epoch at once and moved to the device at once.
    def augmentation(random: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        shift = random.integers(0, 2 * PADDING + 1, size=(len(order), 2))
        flip = random.integers(0, 2, size=len(order), dtype=np.bool_)
        if not augment:
            shift[:], flip[:] = 0, False
        return zip(split(shift), split(flip), strict=True)

    batches = split(order)
    of_views = generator(seed, "views", epoch)
    first, *others = [augmentation(each) for each in (random, *[of_views] * views)]
    numbers: Sequence[Tensor | None] = [None] * len(batches)
    if random_numbers:
        of_method = generator(seed, "method", epoch)
        numbers = split(of_method.random((len(order), random_numbers), dtype=np.float32))
    trusted_steps: Iterator[Step | None] = iter([None] * len(batches))
    if trusted is not None:
        of_trusted = generator(seed, "trusted batches", epoch)
        rows_of_trusted = split(of_trusted.choice(trusted, size=len(order)))
        trusted_steps = map(Step, rows_of_trusted, *zip(*augmentation(of_trusted), strict=True))
    for batch, numbers_of_batch in zip(batches, numbers, strict=True):
        more = tuple(Step(batch, *next(view)) for view in others)
        yield Step(batch, *next(first), more, numbers_of_batch, next(trusted_steps))
