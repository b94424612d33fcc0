"""Forward correction with a transition matrix, the true or an estimated one (Patrini et al. 2017)."""

from typing import TYPE_CHECKING, Any

from noisybench.losses.per_sample import forward_t
from noisybench.methods.method import Batch, Method, State, TrainingData
from noisybench.registry import METHODS

if TYPE_CHECKING:
    from torch import Tensor


METHODS.register("forward-t", year=2017)(forward_t)


@METHODS.register("forward-that", year=2017, passes=2, compared=("",))
class ForwardEstimated(Method):
    """Forward correction with a matrix T̂ that the cce run of the seed estimates (Patrini et al. 2017)."""

    first_stage = "cce"
    # 1: T̂ was estimated from the training part alone, and not from the validation images too.
    revision = 2

    def start(self, data: TrainingData) -> State:
        assert data.transition is not None, "the first stage estimated it"
        return {"transition": data.transition}

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        return forward_t(output, batch.given, transition=state["transition"])

    def validation_loss(self, logits: "Tensor", given: "Tensor", state: State) -> "Tensor":
        return forward_t(logits, given, transition=state["transition"])
