"""Backward correction with an estimated transition matrix (Patrini et al. 2017).

With the true matrix it is the loss backward-t.
"""

from typing import TYPE_CHECKING, Any

from noisybench.losses.robust import backward_t
from noisybench.methods.forward import ForwardEstimated
from noisybench.methods.method import Batch, State
from noisybench.registry import METHODS

if TYPE_CHECKING:
    from torch import Tensor


@METHODS.register("backward-that", year=2017, passes=2)
class BackwardEstimated(ForwardEstimated):
    """Backward correction with a matrix T̂ that the cce run of the seed estimates (Patrini et al. 2017)."""

    revision = 1

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        return backward_t(output, batch.given, transition=state["transition"])

    def validation_loss(self, logits: "Tensor", given: "Tensor", state: State) -> "Tensor":
        return backward_t(logits, given, transition=state["transition"])
