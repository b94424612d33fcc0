"""Gold loss correction: a transition matrix from samples with true labels.

Hendrycks et al. 2018, *Using trusted data to train deep networks on labels corrupted by severe noise*
(NeurIPS).

A network is trained on the labels that are not trusted. Row i of C is the mean of what it predicts for the
trusted samples of class i. A new network is then trained by forward correction with C on the samples that
are not trusted, and by cross entropy on the trusted ones.

As in the authors' code (mmazeika/glc, 5b456a0): the network after its last epoch, unaugmented images. A
class without a trusted sample keeps its own label.
"""

from typing import TYPE_CHECKING, Any

from noisybench.losses.per_sample import cce, forward_t
from noisybench.methods.forward import ForwardEstimated
from noisybench.methods.method import Batch, Method, Run, State, TrainingData, mean_of
from noisybench.registry import METHODS

if TYPE_CHECKING:
    from torch import Tensor


@METHODS.register("untrusted-cce", year=2018)
class Untrusted(Method):
    """Cross entropy on the samples that are not trusted, the first stage of gold (Hendrycks et al. 2018).

    State: untrusted (n,) bool.
    """

    needs_trusted = True

    def start(self, data: TrainingData) -> State:
        return {"untrusted": ~data.trusted}

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        return mean_of(cce(output, batch.given), state["untrusted"][batch.rows])

    def estimate(self, run: Run) -> "Tensor":
        import torch

        softmax = run.training_logits().double().softmax(dim=1)
        matrix = torch.eye(softmax.shape[1], dtype=softmax.dtype, device=softmax.device)
        for label in range(len(matrix)):
            own = run.data.trusted & (run.given == label)
            if own.any():
                matrix[label] = softmax[own].mean(dim=0)
        return matrix


@METHODS.register("gold", year=2018, passes=2)
class GoldLossCorrection(ForwardEstimated):
    """Gold loss correction: forward correction with a matrix from trusted samples (Hendrycks et al. 2018).

    State: that of forward correction, and trusted (n,) bool.
    """

    first_stage = "untrusted-cce"
    needs_trusted = True

    def start(self, data: TrainingData) -> State:
        return {**super().start(data), "trusted": data.trusted.clone()}

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        corrected = forward_t(output, batch.given, transition=state["transition"])
        return cce(output, batch.given).where(state["trusted"][batch.rows], corrected)
