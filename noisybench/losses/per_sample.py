"""Per-sample losses for logits and labels that are known to fit: what training calls at every step.

Each takes logits, a float tensor (n, classes), and labels, an int64 tensor (n,), or (n, k) for k labels of
each sample, all from 0 to classes - 1, and returns the losses in the shape of the labels.  Losses are
computed in float32 (float64 for float64 logits), also under autocast, and are finite in value and gradient
for any finite logits.  `noisybench.losses` has the same functions with checks, and with torch's conventions
for targets.
"""

import math
from typing import TYPE_CHECKING, Annotated

from noisybench.options import Option
from noisybench.registry import METHODS

if TYPE_CHECKING:
    from torch import Tensor

Q = Annotated[float, Option("exponent q of Eq. 6: 0 is cce, 1 is unhinged", minimum=0, maximum=1)]
K = Annotated[float, Option("threshold k of Eq. 9: samples with f_y <= k are pruned", minimum=0, maximum=1)]

# F.cross_entropy skips one label; this is a value that no label has.
NO_LABEL = -(2**63)


def log_likelihood(logits: "Tensor", labels: "Tensor") -> "Tensor":
    """log f_y(x), in the shape of the labels: the log-softmax of the label, in float32 or better."""
    return -cce(logits, labels)


def at_least_float32(logits: "Tensor") -> "Tensor":
    return logits if logits.element_size() >= 4 else logits.float()


@METHODS.register("cce", aliases=("ce", "cross-entropy", "crossentropy"), compared=("",))
def cce(logits: "Tensor", labels: "Tensor") -> "Tensor":
    """Categorical cross entropy, -log f_y (Eq. 2)."""
    from torch.nn.functional import cross_entropy

    logits = at_least_float32(logits)
    if labels.dim() > 1:
        return -logits.log_softmax(dim=1).gather(1, labels)
    return cross_entropy(logits, labels, reduction="none", ignore_index=NO_LABEL)


@METHODS.register("mae", year=2017)
def mae(logits: "Tensor", labels: "Tensor") -> "Tensor":
    """Mean absolute error, 2 - 2 f_y (Eq. 4)."""
    log_f = log_likelihood(logits, labels)
    # 2 and the sign as one factor: the same numbers by an operation less.
    return 2 * box_cox(log_f, 1) if log_f.element_size() == 8 else log_f.expm1() * -2


@METHODS.register("unhinged", year=2015)
def unhinged(logits: "Tensor", labels: "Tensor") -> "Tensor":
    """Unhinged loss, 1 - f_y: half of mae."""
    log_f = log_likelihood(logits, labels)
    # The gradient of expm1 is 1 plus its value, which rounds a small f away; float32 has other limits.
    return box_cox(log_f, 1) if log_f.element_size() == 8 else -log_f.expm1()


@METHODS.register(
    "lq",
    year=2018,
    aliases=("gce", "generalized-cross-entropy", "generalised-cross-entropy"),
    compared=("q=0.3", "q=0.7"),
)
def lq(logits: "Tensor", labels: "Tensor", *, q: Q = 0.7) -> "Tensor":
    """Generalised cross entropy, (1 - f_y^q) / q (Eq. 6)."""
    return box_cox(log_likelihood(logits, labels), q)


def box_cox(log_f: "Tensor", q: float) -> "Tensor":
    """(1 - f^q) / q from log f, with its limit -log f at q = 0.

    Of numbers up to 0, torch's ELU with these scales is expm1(q x) / q, as one operation instead of three,
    and its gradient is exp(q x).  Below 1e-30 the limit is exact in float64, while q itself may vanish in
    float32 and leave 0 / 0.
    """
    import torch

    if q < 1e-30:
        return -log_f
    if log_f.element_size() == 8:
        negative: Tensor = torch.ops.aten.elu(log_f, 1 / q, 1, q)
        return -negative
    # The same in float32, where results of earlier versions are kept to the bit: CELU's gradient rounds
    # 1 / q to float32.
    return -torch.celu(log_f, 1 / q)


def trunc_lq(logits: "Tensor", labels: "Tensor", *, q: Q = 0.7, k: K = 0.5) -> "Tensor":
    """Truncated L_q (Eq. 9), trained by alternate convex search: L_q over the samples with f_y > k.

    The function itself is Eq. 9, constant and so without gradient where f_y <= k.  At k = 0 it is
    `lq`.  The method trunc-lq trains by Algorithm 1 instead.
    """
    log_f = log_likelihood(logits, labels)
    if k > 0:
        from torch.nn.functional import threshold

        # Not clamp: that lets the gradient through where f_y is exactly k.
        log_f = threshold(log_f, math.log(k), math.log(k))
    return box_cox(log_f, q)


def forward_t(logits: "Tensor", labels: "Tensor", *, transition: "Tensor") -> "Tensor":
    """Forward correction with the true transition matrix T, -log (T^T f)_y (Eq. 1; Patrini et al. 2017).

    transition: (classes, classes), row i the distribution of the noisy label of class i.
    A label whose column of T is zero cannot occur, and its loss is infinite.
    """
    from torch.nn.functional import embedding

    log_f = at_least_float32(logits).log_softmax(dim=1)
    if labels.dim() > 1:
        log_f = log_f.unsqueeze(1)
    # log T_iy of each true class i; unlike indexing, embedding takes no label -1 on any device.
    log_t = embedding(labels, transition.to(log_f).log().T)
    return -(log_f + log_t).logsumexp(dim=-1)
