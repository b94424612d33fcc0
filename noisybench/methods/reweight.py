"""Learning to reweight examples by samples with true labels.

Ren et al. 2018, *Learning to reweight examples for robust deep learning* (ICML), Algorithm 1.

The weight of a sample is how much a step on its loss alone would lower the loss of a batch of trusted
samples: the negative derivative of that loss by the weight, at the weights 0, cut off below 0 and divided
by the sum over the batch. For a step of plain gradient descent, this derivative is the product of two
gradients, that of the sample's loss and that of the trusted loss; so it is computed here, for all samples
at once, as the derivative of their losses along the trusted gradient, without second derivatives. Where all
weights are 0, the step changes nothing but by weight decay and momentum.

What is decided here: a trusted batch is as large as the other, and augmented alike; batch norm has the
statistics of each batch, and its running averages those of the weighted batches alone.
"""

import warnings
from typing import TYPE_CHECKING, Any

from noisybench.losses.per_sample import cce
from noisybench.methods.method import Batch, Method, State
from noisybench.registry import METHODS

if TYPE_CHECKING:
    from torch import Tensor, nn


@METHODS.register("reweight", year=2018, passes=3)
class LearningToReweight(Method):
    """Learning to reweight: samples count by how they help on trusted ones (Ren et al. 2018)."""

    needs_trusted = True
    trusted_batches = True
    captures = False  # forward-mode derivatives

    def forward(self, model: "nn.Module", batch: Batch, state: State) -> Any:
        weights = trusted_weights(model, batch)
        return model(batch.images), weights

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        logits, weights = output
        return (weights * cce(logits, batch.given)).sum()  # type: ignore[no-any-return]


def trusted_weights(model: "nn.Module", batch: Batch) -> "Tensor":
    """The weights (b,) of the samples of a batch: 0 or more, of sum 1 unless all are 0."""
    import torch
    from torch.autograd import forward_ad
    from torch.func import functional_call

    assert batch.trusted is not None, "the method asks for it"
    names, parameters = zip(*model.named_parameters(), strict=True)

    def losses(parameters: "tuple[Tensor, ...]", of: Batch) -> "Tensor":
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        named = {**buffers, **dict(zip(names, parameters, strict=True))}
        return cce(functional_call(model, named, (of.images,)), of.given)

    gradient = torch.autograd.grad(losses(parameters, batch.trusted).mean(), parameters)
    # Torch calls deprecated what it uses itself for forward-mode derivatives.
    ignored = warnings.catch_warnings(action="ignore", category=FutureWarning)
    with ignored, torch.no_grad(), forward_ad.dual_level():
        pairs = zip(parameters, gradient, strict=True)
        duals = tuple(forward_ad.make_dual(*pair) for pair in pairs)  # type: ignore[no-untyped-call]
        along: Tensor = forward_ad.unpack_dual(losses(duals, batch)).tangent  # type: ignore[no-untyped-call]
    weights = along.clamp(min=0)
    return weights / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
