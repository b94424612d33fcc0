"""A noise layer with dropout.

Jindal, Nokleby & Chen 2016, *Learning deep networks from noisy labels with dropout regularization* (ICDM).

After the softmax of the network stand a linear layer and a second softmax, for the given label. Dropout on
the weights of the layer keeps the two from sharing the work in a trivial way. The network without the layer
predicts.

What is decided here, as no code of the authors is public: the layer begins as a multiple of the identity,
without a bias; dropout leaves out its inputs, for each image anew, and scales the others up; the part that
is left out.
"""

from typing import TYPE_CHECKING, Annotated, Any

from noisybench.losses.per_sample import cce
from noisybench.methods.method import Batch, Method, State
from noisybench.options import Option
from noisybench.registry import METHODS

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

# Softmax of 4 and nine 0: 0.86 for the class itself.
SCALE = 4.0

Left = Annotated[
    float, Option("part of the noise layer's inputs that dropout leaves out", minimum=0, below=1)
]


@METHODS.register("dropout-noise", year=2016)
class DropoutNoise(Method):
    """A learnt noise layer with dropout after the softmax (Jindal et al. 2016)."""

    dropout: Left = 0.1

    def networks(self, make: "Callable[[str], nn.Module]", n_classes: int) -> "nn.Module":
        import torch
        from torch import nn

        layer = nn.ParameterList([SCALE * torch.eye(n_classes)])
        return nn.ModuleList([make("initialisation"), layer])

    def random_numbers(self, n_classes: int) -> int:
        return n_classes

    def forward(self, model: "nn.Module", batch: Batch, state: State) -> Any:
        network, layer = model.children()
        return network(batch.images), next(layer.parameters())

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        logits, weights = output
        kept = (batch.random >= self.dropout) / (1 - self.dropout)
        return cce(logits.float().softmax(dim=1) * kept @ weights, batch.given)
