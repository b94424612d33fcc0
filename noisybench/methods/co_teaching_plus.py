"""Co-teaching+, after Algorithm 1 of its paper.

Yu et al. 2019, *How does disagreement help generalization against label corruption?* (ICML).

As co-teaching, but after `agree_until` epochs the networks choose among the samples alone on which their
predictions disagree, which keeps the two apart.

As in the authors' code (xingruiyu/coteaching_plus, a68ed61): 20 epochs before disagreement counts, for
CIFAR-10 (5 for CIFAR-100). That code takes the softmax of a softmax for the losses among which it chooses
then; here it is one softmax.

What is decided here: a batch without disagreement changes nothing but by weight decay.
"""

from typing import TYPE_CHECKING, Annotated, Any

from noisybench.losses.per_sample import cce
from noisybench.methods.co_teaching import CoTeaching, small_losses
from noisybench.methods.method import Batch, State, TrainingData, mean_of
from noisybench.options import Option
from noisybench.registry import METHODS

if TYPE_CHECKING:
    from torch import Tensor

AgreeUntil = Annotated[int, Option("epochs of co-teaching before disagreement counts", minimum=0)]


@METHODS.register("co-teaching-plus", year=2019, passes=2)
class CoTeachingPlus(CoTeaching):
    """Co-teaching+: small losses among the samples on which two networks disagree (Yu et al. 2019).

    State: that of co-teaching, and disagreement, whether it counts in this epoch.
    """

    agree_until: AgreeUntil = 20

    def start(self, data: TrainingData) -> State:
        import torch

        return {**super().start(data), "disagreement": torch.tensor(False, device=data.device)}

    def before_epoch(self, epoch: int, state: State) -> None:
        super().before_epoch(epoch, state)
        state["disagreement"].fill_(epoch > self.agree_until)

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        first, second = (cce(logits, batch.given) for logits in output)
        differ = output[0].argmax(dim=1) != output[1].argmax(dim=1)
        among = differ | ~state["disagreement"]

        def chosen(losses: "Tensor") -> "Tensor":
            small = small_losses(losses.where(among, float("inf")), state["keep"], among.sum())
            return small.logical_and(among)

        return mean_of(first, chosen(second)) + mean_of(second, chosen(first))
