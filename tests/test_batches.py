from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from noisybench.batches import PADDING, Images, epoch_steps, pixel_mean

CPU = torch.device("cpu")


def random_images(n: int = 20, height: int = 7, width: int = 5, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, height, width, channels), generator=generator, dtype=torch.uint8)


def test_pixel_mean_is_the_mean_over_images() -> None:
    images = random_images(5000)
    reference = images.numpy().astype(np.float64).mean(axis=0) / 255
    np.testing.assert_allclose(pixel_mean(images).numpy(), reference, rtol=1e-6)


def test_plain_images_are_scaled_and_centred_with_and_without_padding() -> None:
    images = random_images()
    mean = pixel_mean(images)
    reference = (images[3:9] / 255 - mean).permute(0, 3, 1, 2)
    for padding in (0, PADDING):
        batch = Images(images, mean, CPU, padding).plain(3, 9)
        torch.testing.assert_close(batch, reference)
        assert batch.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("padding", [0, PADDING])
def test_some_rows_are_those_images_alone(padding: int) -> None:
    images = random_images()
    rows = np.array([4, 3, 19])
    chosen = images[rows]
    some, alone = Images(images, pixel_mean, CPU, padding, rows), Images(chosen, pixel_mean(chosen), CPU)
    assert torch.equal(some.mean, pixel_mean(chosen)) and len(some) == 3
    assert torch.equal(some.plain(0, 3), alone.plain(0, 3))


def test_all_images_without_a_border_are_not_copied() -> None:
    images = random_images()
    assert Images(images, pixel_mean, CPU).images.data_ptr() == images.data_ptr()


def test_augmentation_equals_flip_pad_crop_of_each_image() -> None:
    """Against the textbook: subtract the mean, flip, pad by zeros, crop."""
    images = random_images()
    mean = pixel_mean(images)
    (step,) = epoch_steps(np.arange(20), 20, augment=True, seed=3, epoch=2, device=CPU)
    assert step.flip.any() and not step.flip.all() and len(step.shift.unique(dim=0)) > 5
    batch = Images(images, mean, CPU, PADDING).augmented(step)
    for got, row, (dy, dx), flip in zip(batch, step.rows, step.shift, step.flip, strict=True):
        centred = (images[row] / 255 - mean).permute(2, 0, 1)
        flipped = centred.flip(2) if flip else centred
        padded = torch.nn.functional.pad(flipped, (PADDING,) * 4)
        # A flip followed by a crop at dx sees the source mirrored: columns run the other way.
        x = 2 * PADDING - dx if flip else dx
        torch.testing.assert_close(got, padded[:, dy : dy + 7, x : x + 5])


@pytest.mark.parametrize(("channels", "padding"), [(1, PADDING), (3, PADDING), (3, 2)])
def test_an_accelerator_makes_the_same_batches(channels: int, padding: int) -> None:
    """By another way than the CPU, which the CPU can go too."""
    images = random_images(channels=channels)
    source = Images(images, pixel_mean(images), CPU, padding)
    (step,) = epoch_steps(np.arange(20), 20, augment=True, seed=3, epoch=2, device=CPU)
    step = replace(step, shift=step.shift.clamp(max=2 * padding))
    assert torch.equal(source._on_accelerator(step), source._on_cpu(step))


class Reciprocals(TorchDispatchMode):
    """Divisions of float32 by a number are multiplications by its reciprocal, as on CUDA."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        divides = function in (torch.ops.aten.div.Tensor, torch.ops.aten.div_.Tensor)
        if divides and isinstance(args[1], int | float):
            reciprocal = (1 / torch.tensor(float(args[1]))).item()
            return args[0].copy_(args[0] * reciprocal) if "_" in str(function) else args[0] * reciprocal
        return function(*args, **(kwargs or {}))


def test_no_batch_depends_on_how_a_device_divides_by_a_number() -> None:
    images = Images(torch.arange(256, dtype=torch.uint8).view(4, 8, 8, 1), pixel_mean, CPU, PADDING)
    (step,) = epoch_steps(np.arange(4), 4, True, 0, 1, CPU)
    batch, plain = images.augmented(step), images.plain(0, 4)
    with Reciprocals():
        assert torch.equal(images.augmented(step), batch) and torch.equal(images.plain(0, 4), plain)
        assert not torch.equal(torch.arange(256.0) / 255, torch.arange(256.0) / torch.tensor(255.0))


def test_every_shift_and_flip_occurs() -> None:
    steps = list(epoch_steps(np.arange(4000), 128, augment=True, seed=0, epoch=1, device=CPU))
    shifts = torch.cat([step.shift for step in steps])
    assert {tuple(pair) for pair in shifts.tolist()} == {(y, x) for y in range(9) for x in range(9)}
    assert 0.45 < torch.cat([step.flip for step in steps]).double().mean() < 0.55


def test_without_augmentation_images_are_plain() -> None:
    images = random_images()
    source = Images(images, pixel_mean(images), CPU)
    (step,) = epoch_steps(np.arange(20), 20, augment=False, seed=0, epoch=1, device=CPU)
    torch.testing.assert_close(source.augmented(step), source.plain(0, 20)[step.rows])


def test_an_epoch_sees_each_row_at_most_once_in_full_batches() -> None:
    rows = np.arange(100, 1000, 3)
    steps = list(epoch_steps(rows, 64, augment=True, seed=0, epoch=1, device=CPU))
    seen = torch.cat([step.rows for step in steps]).numpy()
    assert {len(step.rows) for step in steps} == {64}
    assert len(seen) == len(rows) // 64 * 64 == len(set(seen)) and set(seen) <= set(rows)


def test_fewer_rows_than_a_batch_are_one_batch() -> None:
    (step,) = epoch_steps(np.array([5, 7]), 64, augment=True, seed=0, epoch=1, device=CPU)
    assert sorted(step.rows.tolist()) == [5, 7]


def test_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        (step,) = epoch_steps(np.arange(50), 50, augment=True, seed=seed, epoch=epoch, device=CPU)
        return [*step.rows.tolist(), *step.shift.flatten().tolist()]

    assert order(1, 2) == order(1, 2)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (1, 2)}) == 4
