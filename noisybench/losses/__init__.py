"""Per-sample losses, and the same as `torch.nn.Module` classes for any training loop.

A loss is one registered function from logits, a float tensor of shape (n, classes), and targets, an
int64 tensor of shape (n,), to the losses, a float tensor of shape (n,).  All work from the
log-softmax in float32 (float64 for float64 logits), also under autocast, and are finite in value and
gradient for any finite logits.

`criterion` names the class that wraps the function: ``LqLoss(q=0.7, reduction="mean")`` is made from
`lq` when it is first asked for, so that neither names nor help texts wait for torch to be imported.
"""

import math
from typing import TYPE_CHECKING, Annotated, Any

from noisybench.options import Option
from noisybench.registry import LOSSES

if TYPE_CHECKING:
    from torch import Tensor

Q = Annotated[float, Option("exponent q of Eq. 6: 0 is cce, 1 is unhinged", minimum=0, maximum=1)]
K = Annotated[float, Option("threshold k of Eq. 9: samples with f_y <= k are pruned", minimum=0, maximum=1)]


def log_likelihood(logits: "Tensor", target: "Tensor") -> "Tensor":
    """log f_y(x), shape (n,): the log-softmax of the target, in float32 or better."""
    return -cce(logits, target)


def _at_least_float32(logits: "Tensor") -> "Tensor":
    return logits if logits.element_size() >= 4 else logits.float()


@LOSSES.register("cce", criterion="CCELoss")
def cce(logits: "Tensor", target: "Tensor") -> "Tensor":
    """Categorical cross entropy, -log f_y (Eq. 2)."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(_at_least_float32(logits), target, reduction="none")


@LOSSES.register("mae", criterion="MAELoss")
def mae(logits: "Tensor", target: "Tensor") -> "Tensor":
    """Mean absolute error, 2 - 2 f_y (Eq. 4)."""
    return -2 * log_likelihood(logits, target).expm1()


@LOSSES.register("unhinged", criterion="UnhingedLoss")
def unhinged(logits: "Tensor", target: "Tensor") -> "Tensor":
    """Unhinged loss, 1 - f_y: half of mae."""
    return -log_likelihood(logits, target).expm1()


@LOSSES.register("lq", criterion="LqLoss")
def lq(logits: "Tensor", target: "Tensor", *, q: Q = 0.7) -> "Tensor":
    """Generalised cross entropy, (1 - f_y^q) / q (Eq. 6)."""
    return _box_cox(log_likelihood(logits, target), q)


def _box_cox(log_f: "Tensor", q: float) -> "Tensor":
    """(1 - f^q) / q from log f, with its limit -log f at q = 0.

    Of numbers up to 0, torch's CELU at 1/q is expm1(q x) / q, as one operation instead of three.
    Below 1e-30 the limit is exact in float64, while q itself may vanish in float32 and leave 0 / 0.
    """
    from torch.nn.functional import celu

    return -log_f if q < 1e-30 else -celu(log_f, 1 / q)


@LOSSES.register("trunc-lq", criterion="TruncatedLqLoss", prunes_by="k", trains_as="lq", scheduled=True)
def trunc_lq(logits: "Tensor", target: "Tensor", *, q: Q = 0.7, k: K = 0.5) -> "Tensor":
    """Truncated L_q (Eq. 9), trained by alternate convex search: L_q over the samples with f_y > k.

    The function itself is Eq. 9, constant and so without gradient where f_y <= k.  At k = 0 it is
    `lq`.  Training uses Algorithm 1 instead (`prunes_by`, `trains_as`).
    """
    log_f = log_likelihood(logits, target)
    if k > 0:
        from torch.nn.functional import threshold

        # Not clamp: that lets the gradient through where f_y is exactly k.
        log_f = threshold(log_f, math.log(k), math.log(k))
    return _box_cox(log_f, q)


@LOSSES.register("forward-t", criterion="ForwardLoss")
def forward_t(logits: "Tensor", target: "Tensor", *, transition: "Tensor") -> "Tensor":
    """Forward correction with the true transition matrix T, -log (T^T f)_y (Eq. 1; Patrini et al. 2017).

    transition: shape (classes, classes), row i the distribution of the noisy label of class i.
    A target whose column of T is zero cannot occur, and its loss is infinite.
    """
    from noisybench.losses.forward import forward_corrected

    logits = _at_least_float32(logits)
    return forward_corrected(logits, target, transition.to(logits))


@LOSSES.register("forward-that", first_stage="cce")
def forward_that(logits: "Tensor", target: "Tensor", *, transition: "Tensor") -> "Tensor":
    """Forward correction with a matrix T̂ that the cce run of the same seed estimates (Patrini et al. 2017).

    As a function it is `forward_t`.
    """
    return forward_t(logits, target, transition=transition)


Neighbours = Annotated[
    int, Option("neighbours of the local outlier factor, at most half of a class", minimum=1, maximum=10**6)
]


@LOSSES.register(
    "wang2018",
    trained_by="wang2018:IterativeTraining",
    needs_features=True,
    scheduled=True,
    protocol={
        "model": "cnn6",
        "epochs": 95,
        "batch_size": 100,
        "optimiser": "adam",
        "lr": 0.001,
        "milestones": (),
        "weight_decay": 0.0,
        "augment": "none",
        "prune_from": 5,
        "prune_every": 10,
    },
)
def wang2018(logits: "Tensor", target: "Tensor", *, neighbours: Neighbours = 2000) -> "Tensor":
    """Iterative learning with open-set noisy labels (Wang et al. 2018): outliers pushed away, and weighted.

    As a function it is `cce`, by which it validates; how it trains is in `training.wang2018`.
    """
    return cce(logits, target)


def __getattr__(name: str) -> Any:
    """The criterion class of the loss that names it, such as `LqLoss`."""
    for entry in LOSSES:
        if entry.metadata.criterion == name:
            from noisybench.losses.criteria import criterion_class

            globals()[name] = criterion_class(entry)
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *filter(None, (entry.metadata.criterion for entry in LOSSES))]
