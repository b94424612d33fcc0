"""Joint optimisation of the network and of the labels, its first step.

Tanaka et al. 2018, *Joint optimization framework for learning with noisy labels* (CVPR).

Each sample has a soft label, at first the given one. From `update_from` epochs on it is the mean of the
predictions of the last ten epochs, by the training batches themselves. The loss is cross entropy with the
soft labels, + α times cross entropy of the batch's mean prediction with the prior of classes, + β times the
entropy of predictions.

As in the authors' code (DaikiTanaka-UT/JointOptimization, 7e7a30d): soft labels, a uniform prior, ten
epochs, and α and β of its command for CIFAR-10 with 70 % of uniform noise (at a learning rate of 0.08; 0.8
and 0.4 with 0.03 for class-dependent noise at 40 %). Labels move from epoch 70 of 200 on; the rate is high
and does not fall.

What is decided here: `update_from` is 70 of 200 parts of the run unless it is given; the learning rate is
the run's; the second step, which trains a new network on the final labels, is not done.
"""

from typing import TYPE_CHECKING, Annotated, Any

from noisybench.methods.method import Batch, Method, State, TrainingData
from noisybench.options import Option
from noisybench.registry import METHODS

if TYPE_CHECKING:
    from torch import Tensor

EPOCHS = 10  # whose predictions are averaged

Alpha = Annotated[float, Option("factor α of the prior of classes", minimum=0)]
Beta = Annotated[float, Option("factor β of the entropy of predictions", minimum=0)]
UpdateFrom = Annotated[
    int | None, Option("epochs before labels are updated [35 of 100 epochs of the run]", minimum=1)
]


@METHODS.register("joint-optimisation", year=2018)
class JointOptimisation(Method):
    """Joint optimisation: labels move to the network's predictions (Tanaka et al. 2018).

    State: labels (n, classes); predictions (10, n, classes) of the last epochs; slot, which of them this
    epoch is; update_from, in epochs.
    """

    alpha: Alpha = 1.2
    beta: Beta = 0.8
    update_from: UpdateFrom = None

    def start(self, data: TrainingData) -> State:
        import torch
        from torch.nn.functional import one_hot

        labels = one_hot(data.given, data.n_classes).float()
        first = max(round(0.35 * data.epochs), 1) if self.update_from is None else self.update_from
        return {
            "labels": labels,
            # Until there are ten predictions, the given label stands for those that are missing.
            "predictions": labels.repeat(EPOCHS, 1, 1),
            "slot": torch.tensor(0, device=data.device),
            "update_from": torch.tensor(first),
        }

    def before_epoch(self, epoch: int, state: State) -> None:
        state["slot"].fill_((epoch - 1) % EPOCHS)
        if epoch > state["update_from"]:
            state["labels"].copy_(state["predictions"].mean(dim=0))

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        log_f = output.float().log_softmax(dim=1)
        softmax = log_f.exp()
        predictions = state["predictions"]
        places = state["slot"] * predictions.shape[1] + batch.rows
        predictions.view(-1, softmax.shape[1]).index_copy_(0, places, softmax.detach())
        supervised = -(state["labels"][batch.rows] * log_f).sum(dim=1)
        prior = -softmax.mean(dim=0).log().mean()
        entropy = -(softmax * log_f).sum(dim=1)
        losses: Tensor = supervised + self.alpha * prior + self.beta * entropy
        return losses
