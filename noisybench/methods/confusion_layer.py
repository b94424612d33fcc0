"""A layer for the confusion of classes, between the softmax and the given labels.

Sukhbaatar et al. 2014, *Training convolutional networks with noisy labels* (ICLR 2015 workshop).

The layer is a stochastic matrix Q, row i the distribution of the given label of class i, learnt with the
network. Without more, the network may learn the noise and Q the identity; so the trace of Q is made small,
or, as the paper prefers, its weights are decayed. Q is the identity for `warm_up` epochs, and after each
step it is brought back to the nearest stochastic matrix. The network without the layer predicts.

What is decided here: the length of the first phase and both strengths, for which no public code was found;
Q learns by the optimiser of the run, whose own weight decay it has too.
"""

from typing import TYPE_CHECKING, Annotated, Any

from noisybench.losses.per_sample import forward_t
from noisybench.methods.method import Batch, Method, State, TrainingData
from noisybench.options import Option
from noisybench.registry import METHODS

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

# Added to each entry of Q in the loss, whose logarithm is finite then, and has a gradient.
LEAST = 1e-6

Trace = Annotated[float, Option("factor of the trace of the matrix in the loss", minimum=0)]
Decay = Annotated[float, Option("factor of half the squares of the matrix in the loss", minimum=0)]
WarmUp = Annotated[int, Option("epochs in which the matrix stays the identity", minimum=0)]


@METHODS.register("confusion-layer", year=2014)
class ConfusionLayer(Method):
    """A confusion matrix learnt between softmax and labels, with decay (Sukhbaatar et al. 2014).

    State: learns, whether the matrix is learnt in this epoch.
    """

    trace: Trace = 0.0
    decay: Decay = 0.1
    warm_up: WarmUp = 5

    def networks(self, make: "Callable[[str], nn.Module]", n_classes: int) -> "nn.Module":
        import torch
        from torch import nn

        layer = nn.ParameterList([torch.eye(n_classes)])
        return nn.ModuleList([make("initialisation"), layer])

    def start(self, data: TrainingData) -> State:
        import torch

        return {"learns": torch.tensor(False, device=data.device)}

    def before_epoch(self, epoch: int, state: State) -> None:
        state["learns"].fill_(epoch > self.warm_up)

    def forward(self, model: "nn.Module", batch: Batch, state: State) -> Any:
        import torch

        network, layer = model.children()
        matrix = next(layer.parameters())
        identity = torch.eye(len(matrix), device=matrix.device)
        with torch.no_grad():
            matrix.copy_(nearest_stochastic(matrix).where(state["learns"], identity))
        return network(batch.images), matrix.where(state["learns"], identity)

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        logits, matrix = output
        losses: Tensor = forward_t(logits, batch.given, transition=matrix + LEAST)
        penalty: Tensor = self.trace * matrix.trace() + self.decay / 2 * matrix.square().sum()
        return losses + penalty.where(state["learns"], 0)


def nearest_stochastic(matrix: "Tensor") -> "Tensor":
    """The matrix of rows on the simplex that are nearest to those of `matrix` (rows, classes)."""
    import torch

    ordered = matrix.sort(dim=1, descending=True).values
    excess = ordered.cumsum(dim=1) - 1
    counts = torch.arange(1, matrix.shape[1] + 1, device=matrix.device)
    size = (ordered * counts > excess).sum(dim=1, keepdim=True)
    return (matrix - excess.gather(1, size - 1) / size).clamp(min=0)
