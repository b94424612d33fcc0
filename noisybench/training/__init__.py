"""Training, and what is done with a trained network."""

from importlib import import_module
from typing import TYPE_CHECKING

from noisybench.registry import LOSSES

if TYPE_CHECKING:
    from noisybench.training.loop import Training


def training_class(loss: str) -> "type[Training]":
    """The class that trains with a loss: `loop.Training`, or the one that the loss says it is trained by."""
    module, _, name = LOSSES.bind(loss).entry.metadata.trained_by.partition(":")
    found: type[Training] = getattr(import_module(f"{__name__}.{module}"), name)
    return found
