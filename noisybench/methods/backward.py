"""Backward correction with an estimated transition matrix (Patrini et al. 2017).

With the true matrix it is the loss backward-t.

The loss of a sample is a row of T̂⁻¹ times the losses of all labels. Where T̂ is nearly singular, as an
estimate from few images may be, that row has large negative numbers, and the loss has no lower bound that
training keeps away from: it may diverge at any learning rate. T̂ is not repaired here, as in the paper; a
run that fails says how T̂ is conditioned.
"""

from typing import TYPE_CHECKING, Any

from noisybench.losses.robust import backward_t
from noisybench.methods.forward import ForwardEstimated
from noisybench.methods.method import Batch, State, condition
from noisybench.registry import METHODS

if TYPE_CHECKING:
    from torch import Tensor


@METHODS.register("backward-that", year=2017, passes=2)
class BackwardEstimated(ForwardEstimated):
    """Backward correction with a matrix T̂ that the cce run of the seed estimates (Patrini et al. 2017)."""

    revision = 1

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        return backward_t(output, batch.given, transition=state["transition"])

    def advice(self, state: State) -> str:
        number = condition(state["transition"])
        return (
            f"The estimated transition matrix T̂ has the condition number {number:.3g}: above some tens, its"
            " inverse makes large negative losses, and backward correction can diverge at any learning rate."
            " Train on more images, for a better estimate, or take a forward correction, which needs no"
            " inverse. `noisybench runs show` of the run that estimated T̂ prints the matrix."
        )

    def validation_loss(self, logits: "Tensor", given: "Tensor", state: State) -> "Tensor":
        return backward_t(logits, given, transition=state["transition"])
