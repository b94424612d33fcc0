"""Early-learning regularisation, the form with one network.

Liu et al. 2020, *Early-learning regularization prevents memorization of noisy labels* (NeurIPS).

For each sample a target t is kept, a running average of what the network has predicted for it: t ← β t +
(1 - β) p.  The loss is cross entropy + λ log(1 - ⟨p, t⟩) (Eq. 6): it pulls the prediction towards what was
learnt early, before wrong labels are learnt by heart.

As in the authors' public code, p is the softmax kept between 1e-4 and 1 - 1e-4, divided by its sum for the
target, and the target of a step already has that step's prediction in it.  β and λ are theirs for CIFAR-10.
"""

from typing import TYPE_CHECKING, Annotated, Any

from noisybench.losses.per_sample import cce
from noisybench.methods.method import Batch, Method, State, TrainingData
from noisybench.options import Option
from noisybench.registry import METHODS

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-4

Beta = Annotated[float, Option("how much of a running target stays at each step", minimum=0, below=1)]
Strength = Annotated[float, Option("factor λ of the regularisation", minimum=0)]


@METHODS.register("elr", year=2020, compared=("",))
class EarlyLearningRegularisation(Method):
    """Early-learning regularisation: running targets for each sample (Liu et al. 2020).

    State: targets (n, classes).
    """

    beta: Beta = 0.7
    strength: Strength = 3.0

    def start(self, data: TrainingData) -> State:
        import torch

        return {"targets": torch.zeros(len(data.given), data.n_classes, device=data.device)}

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        softmax = output.float().softmax(dim=1).clamp(EPSILON, 1 - EPSILON)
        seen = softmax.detach()
        targets = self.beta * state["targets"][batch.rows] + (1 - self.beta) * seen / seen.sum(
            1, keepdim=True
        )
        state["targets"].index_copy_(0, batch.rows, targets)
        agreement = (targets * softmax).sum(dim=1)
        losses: Tensor = cce(output, batch.given) + self.strength * (1 - agreement).log()
        return losses
