"""What this machine can do at most: float32 arithmetic, and bytes between processor and memory."""

from functools import cache

import torch

from benchmarks.timing import Row, alternate

SIZES = (512, 1024, 2048)
# float32 numbers: far beyond any cache.
NUMBERS = 2**25
REPEATS = 7


def measure() -> list[Row]:
    products = [
        Row(
            f"torch.mm, float32, {n:,} × {n:,}",
            multiplied(n),
            kind="seconds",
            unit="GFLOP",
            count=flops(n) / 1e9,
        )
        for n in SIZES
    ]
    return [
        *products,
        Row("copy of 128 MiB", copied(), kind="seconds", unit="GB", count=moved(2) / 1e9),
        Row("triad (a = b + 2c) of 128 MiB each", triad(), kind="seconds", unit="GB", count=moved(3) / 1e9),
    ]


@cache
def peak_flops() -> float:
    """The most float32 operations a second of a matrix product, over several sizes."""
    return max(flops(n) / min(multiplied(n)) for n in SIZES)


@cache
def bandwidth() -> float:
    """The bytes a second that a triad moves (McCalpin's STREAM: each array counts once)."""
    return moved(3) / min(triad())


def flops(n: int) -> float:
    """The operations of a product of two square matrices."""
    return 2.0 * n**3


def moved(arrays: int) -> float:
    return 4.0 * NUMBERS * arrays


@cache
def multiplied(n: int) -> list[float]:
    a, b, out = torch.randn(n, n), torch.randn(n, n), torch.empty(n, n)
    return alternate({"mm": lambda: torch.mm(a, b, out=out)}, REPEATS)["mm"]


@cache
def copied() -> list[float]:
    source, target = torch.ones(NUMBERS), torch.ones(NUMBERS)
    return alternate({"copy": lambda: target.copy_(source)}, REPEATS)["copy"]


@cache
def triad() -> list[float]:
    a, b, c = (torch.ones(NUMBERS) for _ in range(3))
    return alternate({"triad": lambda: torch.add(b, c, alpha=2, out=a)}, REPEATS)["triad"]
