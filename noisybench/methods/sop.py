"""Sparse over-parametrisation (SOP), without the additions of SOP+.

Liu et al. 2022, *Robust training under label noise by over-parameterization* (ICML).

The noise of sample i is modelled as s = u² ⊙ y - v² ⊙ (1 - y), with u and v of the sample's own, which
begin near 0 and so become sparse. The network learns from the cross entropy of f + s, clipped and
normalised; u learns from that too, and u and v from the squares of (argmax f as a vector) + s - y.

As in the authors' code (shengliu66/SOP, 4d991ce): u is one number and v a vector for each sample; u² and v²
are kept to 1 at most, probabilities to 1e-4 at least; u and v learn by plain gradient descent of the mean
over the batch, at rates that do not fall. Their rates of u and v are 10 and 10 in the paper for CIFAR-10, 1
and 10 in the code for CIFAR-100 with uniform noise, 0.1 and 100 with class-dependent noise.

What is decided here: u and v begin at 1e-8 instead of normal numbers of that size, of which only the
squares count; the consistency of two views and the balance of classes (SOP+) are left out.
"""

from typing import TYPE_CHECKING, Annotated, Any

from noisybench.methods.method import Batch, Method, State, TrainingData
from noisybench.options import Option
from noisybench.registry import METHODS

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-4
FIRST = 1e-8

Rate = Annotated[float, Option("learning rate of the noise of each sample", minimum=0)]


@METHODS.register("sop", year=2022)
class SparseOverParametrisation(Method):
    """Sparse over-parametrisation: a noise of each sample, learnt with the network (Liu et al. 2022).

    State: u (n, 1) and v (n, classes).
    """

    rate_u: Rate = 10.0
    rate_v: Rate = 10.0

    def start(self, data: TrainingData) -> State:
        import torch

        n = len(data.given)
        return {
            "u": torch.full((n, 1), FIRST, device=data.device),
            "v": torch.full((n, data.n_classes), FIRST, device=data.device),
        }

    def loss(self, output: Any, batch: Batch, state: State) -> "Tensor":
        import torch
        from torch.nn.functional import one_hot

        softmax = output.float().softmax(dim=1)
        label = one_hot(batch.given, softmax.shape[1]).float()
        u = state["u"][batch.rows].requires_grad_()
        v = state["v"][batch.rows].requires_grad_()
        losses = _losses(softmax.detach(), label, u, v)
        by_u, by_v = torch.autograd.grad(losses.mean(), (u, v))
        losses = _losses(softmax, label, u.detach(), v.detach())
        state["u"].index_add_(0, batch.rows, by_u, alpha=-self.rate_u)
        state["v"].index_add_(0, batch.rows, by_v, alpha=-self.rate_v)
        return losses


def _losses(softmax: "Tensor", label: "Tensor", u: "Tensor", v: "Tensor") -> "Tensor":
    """The losses (b,) of softmax and label (b, classes), with u (b, 1) and v (b, classes)."""
    from torch.nn.functional import normalize, one_hot

    gain = (u.square() * label).clamp(0, 1)
    loss = (v.square() * (1 - label)).clamp(0, 1)
    mixed = normalize((softmax + gain - loss.detach()).clamp(min=EPSILON), p=1, eps=EPSILON)
    cross_entropy = -(label * mixed.clamp(EPSILON, 1).log()).sum(dim=1)
    predicted = one_hot(softmax.detach().argmax(dim=1), label.shape[1])
    return cross_entropy + (predicted + gain - loss - label).square().sum(dim=1)
