"""On an accelerator, no step of training may wait for what the device has computed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from test_training import CPU
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from noisybench import datasets
from noisybench.batches import Images, epoch_steps
from noisybench.config import Config
from noisybench.inputs import corrupt
from noisybench.registry import METHODS
from noisybench.split import split
from noisybench.training.loop import Sums, Training

# What asks for a number, or for a shape that depends on one.
WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "is_nonzero", "unique_dim"}


class Operations(TorchDispatchMode):
    """The names of what torch is asked to compute."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.partition(".")[0]
        # How many a mask chooses must be known.
        masks = name in ("index", "index_put", "index_put_") and any(
            isinstance(part, Tensor) and part.dtype == torch.bool for part in args[1]
        )
        self.names.append("nonzero" if masks else name)
        return func(*args, **(kwargs or {}))


@contextmanager
def watched() -> Iterator[list[str]]:
    """What of WAITS happens in this context."""
    found: list[str] = []
    with Operations() as operations:
        yield found
    assert operations.names, "nothing was watched"
    found += [name for name in operations.names if name in WAITS]


def training(**values: Any) -> Training:
    config = Config.create(**{"model": "cnn6(width=8)", "train_size": 400, "batch_size": 64, **values})
    dataset = datasets.load("digits")
    drawn = corrupt(config, dataset)
    cut = split(config, dataset, drawn.given)
    return Training(config, dataset, cut, drawn.transition, CPU)


@pytest.mark.parametrize(
    ("loss", "optimiser"), [*((entry.name, "sgd") for entry in METHODS), ("cce", "adam")]
)
def test_no_step_waits_for_the_host(loss: str, optimiser: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # As on an accelerator.
    monkeypatch.setattr(Images, "_on_cpu", Images._on_accelerator)
    made = training(loss=loss, optimiser=optimiser, augment="flip-crop")
    made.model.train()
    sums = Sums(CPU)
    steps = list(epoch_steps(np.arange(360), 64, augment=True, seed=0, epoch=1, device=CPU))
    made._step(steps[0], sums)
    with watched() as waits:
        for step in steps[1:]:
            made._step(step, sums)
    assert not waits and sums.means()[0] > 0


@pytest.mark.parametrize(
    "waiting",
    [
        lambda x: x.sum().item(),
        lambda x: x[x > 0],
        lambda x: float(x[0]),
        lambda x: x.nonzero(),
        torch.unique,
    ],
)
def test_what_waits_is_noticed(waiting: Callable[[Tensor], object]) -> None:
    with watched() as waits:
        waiting(torch.arange(3.0))
    assert waits
