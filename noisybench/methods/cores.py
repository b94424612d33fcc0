"""CORES², its first phase: sample sieve with confidence regularisation.

Cheng et al. 2021, *Learning with instance-dependent label noise: a sample sieve approach* (ICLR).

The loss is cross entropy minus β times its mean over labels drawn as the given labels are distributed,
which makes predictions confident. From `sieve_from` epochs on, a sample counts where the cross entropy of
its given label is below the mean over all labels. β is 0 for `warm_up` epochs, then grows to its whole in
30.

As in the authors' code (UCSC-REAL/cores, cf0945e): β = 2, the three phases (there each begins one epoch
later), and 1e-8 added to the softmax of what is subtracted, without which the loss has no lower bound. The
loss is divided by 1 + β, where theirs divides the learning rate, which is the same but for weight decay.
Theirs counts the given labels anew among the samples that are left; here they are counted once. The second
phase, consistency training on what is left out, is not done.
"""

from typing import TYPE_CHECKING, Annotated, Any

from noisybench.methods.method import Batch, Method, State, TrainingData, mean_of
from noisybench.options import Option
from noisybench.registry import METHODS

if TYPE_CHECKING:
    from torch import Tensor

GROWTH = 30  # epochs
EPSILON = 1e-8

Beta = Annotated[float, Option("factor β of the confidence regularisation", minimum=0)]
WarmUp = Annotated[int, Option("epochs without regularisation", minimum=0)]
SieveFrom = Annotated[int, Option("epochs before the sieve leaves samples out", minimum=0)]


@METHODS.register("cores2", year=2021)
class Cores(Method):
    """CORES²: a sieve of samples with confidence regularisation, its first phase (Cheng et al. 2021).

    State: prior (classes,), how the given labels are distributed; beta, of this epoch; sieves, whether the
    sieve is in use.
    """

    # 1: what is subtracted had no bound, and the loss was not divided.
    revision = 2
    strength: Beta = 2.0
    warm_up: WarmUp = 10
    sieve_from: SieveFrom = 30

    def start(self, data: TrainingData) -> State:
        import torch

        return {
            "prior": torch.bincount(data.given, minlength=data.n_classes) / len(data.given),
            "beta": torch.zeros((), device=data.device),
            "sieves": torch.tensor(False, device=data.device),
        }

    def before_epoch(self, epoch: int, state: State) -> None:
        state["beta"].fill_(self.strength * min(max((epoch - self.warm_up) / GROWTH, 0), 1))
        state["sieves"].fill_(epoch > self.sieve_from)

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        log_f = output.float().log_softmax(dim=1)
        own = -log_f.gather(1, batch.given[:, None]).squeeze(1)
        of_each = -(log_f.exp() + EPSILON).log()
        chosen = (own < of_each.mean(dim=1)) | ~state["sieves"]
        regularised = own - state["beta"] * (of_each @ state["prior"])
        return mean_of(regularised, chosen) / (1 + state["beta"])
