"""MentorNet's predefined curriculum (MentorNet PD).

Jiang et al. 2018, *MentorNet: learning data-driven curriculum for very deep neural networks on corrupted
labels* (ICML).

A sample weighs v = 1 where its loss is at most λ₂, less in a line down to 0 at λ₂ + λ₁, and with λ₁ = 0
nothing above λ₂, as in self-paced learning. λ₂ is a running average of a percentile of the losses of a
batch.

As in the authors' code (google/mentornet, 76d6be2): the running average keeps a half of itself. λ₁ is 1 by
the name of its model for CIFAR, mentornet_pd1_g_1.

What is decided here: the closed form of the weights, not a network that imitates it; the percentile is one
minus the noise rate unless it is given (theirs: 0.75 at 20 % of noise); no examples are dropped at random,
as half of them in theirs in the first 17 of 100 epochs; all weigh 1 in the first 5.
"""

from typing import TYPE_CHECKING, Annotated, Any

from noisybench.losses.per_sample import cce
from noisybench.methods.method import Batch, Method, State, TrainingData
from noisybench.options import Option
from noisybench.registry import METHODS

if TYPE_CHECKING:
    from torch import Tensor

Fraction = Annotated[
    float | None,
    Option("part of the losses below the threshold [one minus the noise rate]", minimum=0, maximum=1),
]
Slope = Annotated[float, Option("λ₁, over which loss a weight falls from 1 to 0", minimum=0)]
Decay = Annotated[float, Option("how much of the running threshold stays at each step", minimum=0, below=1)]
WarmUp = Annotated[int, Option("epochs in which all samples weigh 1", minimum=0)]


@METHODS.register("mentornet-pd", year=2018)
class MentorNetPredefined(Method):
    """MentorNet's predefined curriculum: weights that fall with the loss (Jiang et al. 2018).

    State: fraction; threshold, λ₂, nan before the first step; weighs, whether weights are in use.
    """

    fraction: Fraction = None
    slope: Slope = 1.0
    decay: Decay = 0.5
    warm_up: WarmUp = 5

    def uses_rate(self) -> bool:
        return self.fraction is None

    def start(self, data: TrainingData) -> State:
        import torch

        fraction = 1 - data.rate if self.fraction is None else self.fraction
        return {
            "fraction": torch.tensor(fraction, device=data.device),
            "threshold": torch.full((), float("nan"), device=data.device),
            "weighs": torch.tensor(False, device=data.device),
        }

    def before_epoch(self, epoch: int, state: State) -> None:
        state["weighs"].fill_(epoch > self.warm_up)

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        losses = cce(output, batch.given)
        seen, threshold = losses.detach(), state["threshold"]
        now = seen.quantile(state["fraction"])
        threshold.copy_(now.where(threshold.isnan(), self.decay * threshold + (1 - self.decay) * now))
        above = seen - threshold
        weights = (1 - above / self.slope).clamp(0, 1) if self.slope else (above <= 0).float()
        return losses * weights.where(state["weighs"], 1)
