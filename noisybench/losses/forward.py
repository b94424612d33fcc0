"""-log (T^T f)_y and its gradient, in one pass over the logits on a CPU.

As ordinary operations, in the logarithm, it is six tensors of the size of the logits, each through the
memory and back; here a block of rows stays in the cache from its softmax to its gradient, and backward only
scales the gradient that forward has found.
"""

from typing import Any

import torch
from torch import Tensor

# Numbers of a block: 1 MiB in float32.  Smaller ones cost calls, larger ones no longer fit the cache.
BLOCK = 2**18


def forward_corrected(logits: Tensor, target: Tensor, transition: Tensor) -> Tensor:
    """-log (T^T f)_y, shape (n,), of logits (n, classes) in float32 or float64 and a matrix of that type.

    Can be differentiated twice, and by the transition matrix.
    """
    if _in_blocks(logits, transition):
        return InBlocks.apply(logits, target, transition)  # type: ignore[no-any-return]
    return -_log_joint(logits, target, transition).logsumexp(dim=1)


def _in_blocks(logits: Tensor, transition: Tensor) -> bool:
    """Whether the one pass can be taken, and pays."""
    return (
        logits.device.type == "cpu"
        and torch.is_grad_enabled()
        and logits.requires_grad
        and not transition.requires_grad
        # What transforms functions, torch.func or the compiler, does so with ordinary operations.
        and not torch._C._are_functorch_transforms_active()
        and not torch.compiler.is_compiling()
    )


def _log_joint(logits: Tensor, target: Tensor, transition: Tensor) -> Tensor:
    """log f_j T_jy, shape (n, classes): of true class j and the given label together."""
    return logits.log_softmax(dim=1) + transition.log().T[target]


def _gradient(logits: Tensor, target: Tensor, transition: Tensor) -> Tensor:
    """The gradient of each row's loss: the softmax less the posterior of the true class."""
    return logits.softmax(dim=1) - _log_joint(logits, target, transition).softmax(dim=1)


class InBlocks(torch.autograd.Function):
    """The loss, with its gradient by the logits found on the way."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, transition: Tensor) -> Tensor:
        n, classes = logits.shape
        by_label = transition.T.contiguous()
        likelihood = logits.new_empty(n, 1)
        gradient = torch.empty_like(logits)
        size = max(1, BLOCK // max(1, classes))
        for start in range(0, n, size):
            rows = slice(start, start + size)
            softmax = torch.softmax(logits[rows], dim=1, out=gradient[rows])
            joint = by_label.index_select(0, target[rows]).mul_(softmax)
            of_rows = joint.sum(dim=1, keepdim=True)
            likelihood[rows] = of_rows
            softmax.addcdiv_(joint, of_rows, value=-1)
        likelihood = likelihood.squeeze(1)
        losses = likelihood.log().neg_()
        # Where the softmax is next to nothing wherever T is not, only logarithms tell how little.
        least = torch.finfo(logits.dtype)
        faint = likelihood <= least.tiny / least.eps
        if faint.any():
            few = logits[faint], target[faint], transition
            losses[faint] = -_log_joint(*few).logsumexp(dim=1)
            gradient[faint] = _gradient(*few)
        ctx.save_for_backward(logits, target, transition, gradient)
        return losses

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None]:
        logits, target, transition, gradient = ctx.saved_tensors
        if torch.is_grad_enabled():
            # To be differentiated once more.
            gradient = _gradient(logits, target, transition)
        return gradient * outer[0][:, None], None, None
