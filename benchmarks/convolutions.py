"""The 3×3 convolutions of resnet34: in channels_last and in torch's other format, and our own gradient."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import conv2d
from torch.nn.grad import conv2d_input, conv2d_weight

from benchmarks.data import BATCH
from benchmarks.hardware import synchronise
from benchmarks.timing import Row, compare
from noisybench.models.convolutions import weight_gradient
from noisybench.training.device import choose_device, set_up

# Channels, and height and width of the images.
SHAPES = ((64, 32), (128, 16), (256, 8), (512, 4))
ROUNDS = 7


def measure() -> list[Row]:
    device = choose_device("auto")
    set_up(device, "fp32")
    return [row for shape in SHAPES for row in of(*shape, device)]


def of(channels: int, size: int, device: torch.device) -> list[Row]:
    flops = 2 * 9 * channels**2 * size**2 * BATCH
    images = torch.randn(BATCH, channels, size, size, device=device)
    weight = torch.randn(channels, channels, 3, 3, device=device)
    outer = torch.randn_like(images)
    passes: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
        "forward": lambda x, w, g: conv2d(x, w, padding=1),
        "gradient of its input": lambda x, w, g: conv2d_input(x.shape, w, g, padding=1),
        "gradient of its weights": lambda x, w, g: conv2d_weight(x, w.shape, g, padding=1),
    }

    def act(
        call: Callable[[Tensor, Tensor, Tensor], Tensor], memory: torch.memory_format
    ) -> Callable[[], None]:
        arguments = [tensor.contiguous(memory_format=memory) for tensor in (images, weight, outer)]

        def once() -> None:
            call(*arguments)
            synchronise(device)

        return once

    def row(name: str, ours: Callable[[], None], alternative: str, other: Callable[[], None]) -> Row:
        what = f"{channels} channels of {size} × {size}, {name}"
        return compare(what, ours, alternative, other, ROUNDS, count=flops / 1e9, unit="GFLOP")

    rows = [
        row(name, act(call, torch.channels_last), "contiguous", act(call, torch.contiguous_format))
        for name, call in passes.items()
    ]
    name = "gradient of its weights"
    ours = act(lambda x, w, g: weight_gradient(x, g), torch.channels_last)
    return [
        *rows,
        row(f"{name}, ours", ours, "torch's, channels_last", act(passes[name], torch.channels_last)),
    ]
