"""Losses as `torch.nn.Module` classes with torch's own conventions."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from noisybench.errors import InvalidValue
from noisybench.registry import LOSSES, Bound, Entry, LossInfo

REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": Tensor.mean,
    "sum": Tensor.sum,
    "none": lambda losses: losses,
}


class Criterion(nn.Module):
    """A loss as a module: ``criterion(logits, target)``.

    logits: float, shape (n, classes).  target: int64, shape (n,).  Returns a scalar, or shape (n,)
    with ``reduction="none"``.  Hyper-parameters are keywords; a tensor that the loss needs (the
    transition matrix of `ForwardLoss`) is a keyword too, and a buffer that moves with the module.
    Raises InvalidValue for a value out of bounds.
    """

    entry: ClassVar[Entry[LossInfo]]

    def __init__(self, *, reduction: str = "mean", **values: Any) -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise InvalidValue(f"reduction is {reduction!r}, but must be one of {', '.join(REDUCTIONS)}.")
        missing = set(self.entry.context) - set(values)
        if missing:
            raise InvalidValue(f"{type(self).__name__} needs {', '.join(sorted(missing))}.")
        for name in self.entry.context:
            # torch's default type, as for any module: float64 from NumPy could not move to every device.
            value = torch.as_tensor(values.pop(name), dtype=torch.get_default_dtype())
            self.register_buffer(name, value)
        self.reduction = reduction
        self.bound: Bound[LossInfo] = LOSSES.bind(self.entry.name, values)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        buffers = dict(self.named_buffers())
        return REDUCTIONS[self.reduction](self.bound(logits, target, **buffers))

    def extra_repr(self) -> str:
        return f"{self.bound}, reduction={self.reduction}"


def criterion_class(entry: Entry[LossInfo]) -> type[Criterion]:
    """The module class of a registered loss."""
    doc = f"{entry.help}\n\n{Criterion.__doc__}"
    body = {"entry": entry, "__doc__": doc, "__module__": "noisybench.losses"}
    return type(entry.metadata.criterion, (Criterion,), body)
