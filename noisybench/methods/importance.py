"""Importance reweighting with the transition matrix.

Liu & Tao 2016, *Classification with noisy labels by importance reweighting* (TPAMI).

A sample weighs β = P(Y = y | x) / P(Ỹ = y | x), the clean over the noisy posterior of its given label, so
that the weighted loss over noisy labels is in expectation the loss over clean ones. The paper's β for two
classes, in terms of the clean posterior f and the matrix T, is f_y / (Tᵀ f)_y, which holds for any number
of classes.

What is decided here: f is the softmax of the network in training, taken as a constant, as is usual for
networks (the paper estimates the posterior first, by other means).
"""

from typing import TYPE_CHECKING, Any

from noisybench.losses.per_sample import cce, forward_t
from noisybench.methods.method import Batch, Method, State, TrainingData
from noisybench.registry import METHODS

if TYPE_CHECKING:
    from torch import Tensor


@METHODS.register("importance-t", year=2016)
class ImportanceReweighting(Method):
    """Importance reweighting with the true transition matrix: clean over noisy posterior (Liu & Tao 2016)."""

    needs_transition = True

    def start(self, data: TrainingData) -> State:
        assert data.transition is not None, "Config has seen to that"
        return {"transition": data.transition}

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        losses = cce(output, batch.given)
        log_weight = forward_t(output, batch.given, transition=state["transition"]) - losses
        return log_weight.detach().exp() * losses
