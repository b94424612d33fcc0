"""What this machine can do at most: arithmetic, and bytes between processor and memory."""

from collections.abc import Callable

import torch

from benchmarks.timing import Row, alternate, compare
from noisybench.training.device import choose_precision

SIZES = (512, 1024, 2048)
# float32 numbers: far beyond any cache.
NUMBERS = 2**25
REPEATS = 7
# Images, and the channels, height and width of what one of the inner convolutions of cnn6 reads.
CONVOLUTION = (64, 128, 16, 16)


def measure() -> list[Row]:
    has_bfloat16 = choose_precision("auto", torch.device("cpu")) == "bf16"
    types = (torch.float32, torch.bfloat16) if has_bfloat16 else (torch.float32,)
    rows = [_product(n, dtype) for dtype in types for n in SIZES]
    if has_bfloat16:
        rows.append(
            compare(
                "a convolution of cnn6, bfloat16, forward and backward",
                _convolution(torch.bfloat16),
                "in float32",
                _convolution(torch.float32),
                REPEATS,
                count=CONVOLUTION[0],
                unit="images",
            )
        )
    a, b, c = (torch.ones(NUMBERS) for _ in range(3))
    return [
        *rows,
        _moved("copy of 128 MiB", lambda: a.copy_(b), arrays=2),
        # McCalpin's STREAM: each array counts once.
        _moved("triad (a = b + 2c) of 128 MiB each", lambda: torch.add(b, c, alpha=2, out=a), arrays=3),
    ]


def _product(n: int, dtype: torch.dtype) -> Row:
    a, b = torch.randn(2, n, n).to(dtype)
    out = torch.empty(n, n, dtype=dtype)
    seconds = alternate({"mm": lambda: torch.mm(a, b, out=out)}, REPEATS)["mm"]
    name = str(dtype).removeprefix("torch.")
    flops = 2 * n**3
    return Row(f"torch.mm, {name}, {n:,} × {n:,}", seconds, kind="seconds", unit="GFLOP", count=flops / 1e9)


def _convolution(dtype: torch.dtype) -> Callable[[], None]:
    """A 3 × 3 convolution, forward and backward, in the memory format of training."""
    channels = CONVOLUTION[1]
    convolution = torch.nn.Conv2d(channels, channels, 3, padding=1)
    convolution.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(CONVOLUTION).to(dtype=dtype, memory_format=torch.channels_last).requires_grad_()
    gradient = torch.ones_like(images)

    def act() -> None:
        convolution(images).backward(gradient)

    return act


def _moved(what: str, act: Callable[[], object], arrays: int) -> Row:
    gigabytes = arrays * NUMBERS * torch.float32.itemsize / 1e9
    return Row(what, alternate({what: act}, REPEATS)[what], kind="seconds", unit="GB", count=gigabytes)
