"""Self-paced learning.

Kumar, Packer & Koller 2010, *Self-paced learning for latent variable models* (NeurIPS).  Its Eq. 3 chooses
parameters w and weights v in {0, 1}ⁿ together: min Σ v_i L_i - λ Σ v_i, so that v_i = 1 where L_i < λ.
λ (its 1/K) grows by a factor μ, from a value that lets half of the samples in, until all are in.

The paper alternates between whole solutions.  Here, as is usual for networks, v is chosen in each batch by
the losses there, and λ grows once an epoch.  The first λ is the quantile of the losses of all training
samples, by the network after `warm_up` epochs on all samples (the paper's initial w).  Nothing in it keeps
wrong labels out for good.
"""

from typing import TYPE_CHECKING, Annotated, Any

from noisybench.losses.per_sample import cce
from noisybench.methods.method import Batch, Method, Run, Selection, State, TrainingData
from noisybench.options import Option
from noisybench.registry import METHODS

if TYPE_CHECKING:
    from torch import Tensor

Start = Annotated[float, Option("part of the samples that the first threshold lets in", minimum=0, maximum=1)]
Growth = Annotated[float, Option("factor of the threshold after each epoch", minimum=1)]
WarmUp = Annotated[int, Option("epochs until the method is in full effect", minimum=1)]


@METHODS.register("self-paced", year=2010)
class SelfPaced(Method):
    """Self-paced learning: samples whose loss is below a growing threshold (Kumar et al. 2010).

    State: threshold, λ; infinite while all samples are in.
    """

    start_fraction: Start = 0.5
    growth: Growth = 1.3
    warm_up: WarmUp = 1

    def start(self, data: TrainingData) -> State:
        import torch

        return {"threshold": torch.full((), float("inf"), device=data.device)}

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        losses = cce(output, batch.given)
        chosen = losses.detach() < state["threshold"]
        return losses.where(chosen, 0).sum() / chosen.sum().clamp(min=1)

    def after_epoch(self, epoch: int, run: Run, state: State) -> Selection | None:
        if epoch == self.warm_up:
            losses = cce(run.training_logits(), run.given)
            state["threshold"].copy_(losses.quantile(self.start_fraction))
        elif epoch > self.warm_up:
            state["threshold"].mul_(self.growth)
        return None
