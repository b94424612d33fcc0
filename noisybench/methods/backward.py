"""Backward correction with a transition matrix, the true or an estimated one (Patrini et al. 2017).

The loss of a sample is a row of T⁻¹ times the losses of all labels. Where T is nearly singular, as an
estimate from few images may be, that row has large negative numbers, and the loss has no lower bound that
training keeps away from: it may diverge at any learning rate. T̂ is not repaired here, as in the paper; a
run that fails says how it is conditioned.
"""

from typing import TYPE_CHECKING, Any

from noisybench.losses.robust import backward, inverse_of
from noisybench.methods.method import Batch, Method, State, TrainingData, condition
from noisybench.registry import METHODS

if TYPE_CHECKING:
    from torch import Tensor


@METHODS.register("backward-t", year=2017)
class Backward(Method):
    """Backward correction with the true transition matrix T, (T⁻¹ losses)_y (Patrini et al. 2017)."""

    needs_transition = True

    def start(self, data: TrainingData) -> State:
        assert data.transition is not None, "Config has seen to that, or the first stage estimated it"
        return {"inverse": inverse_of(data.transition)}

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        return backward(output, batch.given, state["inverse"])

    def validation_loss(self, logits: "Tensor", given: "Tensor", state: State) -> "Tensor":
        return backward(logits, given, state["inverse"])

    def advice(self, state: State) -> str:
        # That of a matrix and of its inverse are the same.
        number = condition(state["inverse"])
        return f"The transition matrix of the noise has the condition number {number:.3g}."


@METHODS.register("backward-that", year=2017, passes=2)
class BackwardEstimated(Backward):
    """Backward correction with a matrix T̂ that the cce run of the seed estimates (Patrini et al. 2017)."""

    needs_transition = False
    first_stage = "cce"

    def advice(self, state: State) -> str:
        number = condition(state["inverse"])
        return (
            f"The estimated transition matrix T̂ has the condition number {number:.3g}: above some tens, its"
            " inverse makes large negative losses, and backward correction can diverge at any learning rate."
            " Train on more images, for a better estimate, or take a forward correction, which needs no"
            " inverse. `noisybench runs show` of the run that estimated T̂ prints the matrix."
        )
