"""The losses, forward and backward of their mean, as multiples of the mean of torch's own cross entropies."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.timing import Row, against
from noisybench.losses import per_sample

GOAL = 1.3
# Samples, classes, calls that are timed as one, rounds.
SIZES = ((128, 10, 200, 31), (4096, 100, 10, 31), (65_536, 1000, 1, 3))


def measure() -> list[Row]:
    return [row for size in SIZES for row in at(*size)]


def at(n: int, classes: int, calls: int, repeats: int) -> list[Row]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(n, classes, generator=generator).requires_grad_()
    target = torch.randint(classes, (n,), generator=generator)
    transition = torch.full((classes, classes), 0.4 / (classes - 1)).fill_diagonal_(0.6)

    def step(loss: Callable[[], Tensor]) -> Callable[[], None]:
        def act() -> None:
            for _ in range(calls):
                logits.grad = None
                loss().backward()  # type: ignore[no-untyped-call]

        return act

    def mean_of(name: str) -> Callable[[], Tensor]:
        function = getattr(per_sample, name.replace("-", "_"))
        context = {"transition": transition} if name.startswith("forward") else {}
        return lambda: function(logits, target, **context).mean()

    size = f"{n:,} × {classes:,}"
    names = ("cce", "mae", "unhinged", "lq", "trunc-lq", "forward-t")
    return against(
        "F.cross_entropy(…, reduction='none').mean()",
        step(lambda: cross_entropy(logits, target, reduction="none").mean()),
        {f"{name}, {size}": step(mean_of(name)) for name in names},
        repeats,
        kind="cost",
        goal=GOAL,
        count=n * calls,
        unit="samples",
    )
