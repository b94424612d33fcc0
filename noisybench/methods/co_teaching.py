"""Co-teaching, after Algorithm 1 of its paper.

Han et al. 2018, *Co-teaching: Robust training of deep neural networks with extremely noisy labels*
(NeurIPS).

Two networks of different initial weights see the same batches. Each chooses the samples of smallest loss,
and the other learns from these alone. The part that is chosen shrinks from all samples to 1 - τ in the
first epochs, before wrong labels are learnt by heart: R(t) = 1 - τ min(t / T_k, 1).

As in the authors' code (bhanML/Co-teaching, 7c7fbe2): T_k is 10; there R falls from the second epoch on,
here by the paper's formula from the first.

What is decided here: τ is the noise rate of the run unless it is given (the paper assumes that it is
known); both networks are updated by one optimiser, which treats each parameter by itself; the first network
predicts. The paper's own protocol (Adam, 200 epochs) is not used: the run's is.
"""

from typing import TYPE_CHECKING, Annotated, Any

from noisybench.losses.per_sample import cce
from noisybench.methods.method import Batch, Method, State, TrainingData, mean_of
from noisybench.options import Option
from noisybench.registry import METHODS

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

ForgetRate = Annotated[
    float | None,
    Option("part of each batch that is left out at the end [the noise rate]", minimum=0, below=1),
]
WarmUp = Annotated[int, Option("epochs until the method is in full effect", minimum=1)]


@METHODS.register("co-teaching", year=2018, passes=2)
class CoTeaching(Method):
    """Co-teaching: two networks, each trained on the small-loss samples of the other (Han et al. 2018).

    State: forget_rate, τ; keep, the part R(t) of a batch that is kept in this epoch.
    """

    forget_rate: ForgetRate = None
    warm_up: WarmUp = 10

    def uses_rate(self) -> bool:
        return self.forget_rate is None

    def networks(self, make: "Callable[[str], nn.Module]", n_classes: int) -> "nn.Module":
        from torch import nn

        return nn.ModuleList([make("initialisation"), make("second network")])

    def start(self, data: TrainingData) -> State:
        import torch

        rate = data.rate if self.forget_rate is None else self.forget_rate
        return {"forget_rate": torch.tensor(rate), "keep": torch.ones((), device=data.device)}

    def before_epoch(self, epoch: int, state: State) -> None:
        state["keep"].fill_(1 - float(state["forget_rate"]) * min(epoch / self.warm_up, 1))

    def forward(self, model: "nn.Module", batch: Batch, state: State) -> Any:
        first, second = model.children()
        return first(batch.images), second(batch.images)

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        first, second = (cce(logits, batch.given) for logits in output)
        return mean_of(first, small_losses(second, state["keep"])) + mean_of(
            second, small_losses(first, state["keep"])
        )


def small_losses(losses: "Tensor", part: "Tensor", n: "Tensor | None" = None) -> "Tensor":
    """Which losses (b,) are among the smallest `part` of `n`, by default of all: at least one."""
    rank = losses.detach().argsort(stable=True).argsort(stable=True)
    return rank < (part * (len(losses) if n is None else n)).floor().clamp(min=1)
