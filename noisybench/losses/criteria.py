"""The losses as `torch.nn.Module` classes with the arguments of `torch.nn.CrossEntropyLoss`."""

from functools import partial
from typing import Any, TypedDict, Unpack

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from noisybench.errors import InvalidValue
from noisybench.losses import per_sample
from noisybench.losses.conventions import (
    IGNORE_INDEX,
    REDUCTIONS,
    check_classes,
    check_transition,
    checked_parameters,
    reduced,
)


class Conventions(TypedDict, total=False):
    """The arguments that every class shares with `torch.nn.CrossEntropyLoss`.

    weight: (classes,), a factor of each class.
    ignore_index: samples with this label have no loss and no part in a mean; -100 by default.
    reduction: "mean" (the default), "sum" or "none".
    """

    weight: Tensor | None
    ignore_index: int
    reduction: str


class Criterion(nn.Module):
    """A loss as a module: ``criterion(logits, target)``.

    logits: float, (n, classes), (n, classes, d1, …) or (classes,).  target: labels of an integer type, (n,),
    (n, d1, …) or (), or probabilities of a float type in the shape of the logits.  Returns a scalar, or the
    losses in the shape of the labels with ``reduction="none"``.  Raises InvalidValue.
    """

    weight: Tensor | None

    def __init__(
        self, weight: Tensor | None = None, ignore_index: int = IGNORE_INDEX, reduction: str = "mean"
    ) -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise InvalidValue(f"reduction is {reduction!r}, but must be one of {', '.join(REDUCTIONS)}.")
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = reduction

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The losses of logits (n, classes) for labels from 0 to classes - 1, in the shape of the labels."""
        raise NotImplementedError

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return reduced(
            self.per_sample,
            logits,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )

    def parameters_repr(self) -> str:
        """The hyper-parameters, as `repr` shows them."""
        return ""

    def extra_repr(self) -> str:
        return f"{self.parameters_repr()}reduction={self.reduction!r}"


class CCELoss(Criterion):
    """Categorical cross entropy, -log f_y (Eq. 2)."""

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return per_sample.cce(logits, labels)


class MAELoss(Criterion):
    """Mean absolute error, 2 - 2 f_y (Eq. 4)."""

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return per_sample.mae(logits, labels)


class UnhingedLoss(Criterion):
    """Unhinged loss, 1 - f_y: half of `MAELoss`."""

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return per_sample.unhinged(logits, labels)


class LqLoss(Criterion):
    """Generalised cross entropy, (1 - f_y^q) / q (Eq. 6).

    q: from 0, which is `CCELoss`, to 1, which is `UnhingedLoss`.
    """

    def __init__(self, *, q: float = 0.7, **conventions: Unpack[Conventions]) -> None:
        super().__init__(**conventions)
        self.q: float = checked_parameters(per_sample.lq, {"q": q})["q"]

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return per_sample.lq(logits, labels, q=self.q)

    def parameters_repr(self) -> str:
        return f"q={self.q:g}, "


class TruncatedLqLoss(Criterion):
    """Truncated L_q (Eq. 9): L_q of f_y where f_y > k, and the constant L_q of k elsewhere.

    It does not train a network from initial weights: there f_y is about 1 / classes, below k, and every
    gradient is 0.  The paper trains by Algorithm 1, which is `PrunedLqLoss`; use this class to evaluate, or
    to go on with a trained network.

    q: from 0 to 1.  k: from 0, which is `LqLoss`, to 1.
    """

    def __init__(self, *, q: float = 0.7, k: float = 0.5, **conventions: Unpack[Conventions]) -> None:
        super().__init__(**conventions)
        values = checked_parameters(per_sample.trunc_lq, {"q": q, "k": k})
        self.q: float = values["q"]
        self.k: float = values["k"]

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return per_sample.trunc_lq(logits, labels, q=self.q, k=self.k)

    def parameters_repr(self) -> str:
        return f"q={self.q:g}, k={self.k:g}, "


class PrunedLqLoss(nn.Module):
    """L_q with the pruning of alternate convex search (Zhang & Sabuncu 2018, Algorithm 1), for any loop.

    n: the number of training samples.  q, k: as for `TruncatedLqLoss`.  All samples are kept until the first
    `update`; call it from some epoch on, every few epochs, with the best network so far by validation labels.
    Which samples are kept is a buffer, `kept` (n,) bool, and so part of the state_dict.

        criterion = PrunedLqLoss(len(given))
        for epoch in range(20):
            for rows in torch.randperm(len(given)).split(32):
                optimiser.zero_grad()
                criterion(model(images[rows]), given[rows], rows).backward()
                optimiser.step()
            if epoch >= 8:
                criterion.update(model(images).detach(), given)
    """

    kept: Tensor

    def __init__(self, n: int, *, q: float = 0.7, k: float = 0.5) -> None:
        super().__init__()
        values = checked_parameters(per_sample.trunc_lq, {"q": q, "k": k})
        self.q: float = values["q"]
        self.k: float = values["k"]
        self.register_buffer("kept", torch.ones(n, dtype=torch.bool))

    def forward(self, logits: Tensor, target: Tensor, rows: Tensor) -> Tensor:
        """The mean of L_q over the kept samples of a batch, 0 if there is none.

        logits: (b, classes); target: (b,) labels; rows: (b,) int64, the places of the samples among all n.
        """
        losses = reduced(partial(per_sample.lq, q=self.q), logits, target, reduction="none")
        kept = self.kept[rows]
        return losses.where(kept, 0).sum() / kept.sum().clamp(min=1)

    @torch.no_grad()
    def update(self, logits: Tensor, target: Tensor) -> None:
        """Choose the samples anew: those whose softmax of the label exceeds k (Eq. 12).

        logits: (n, classes) of all training images, unaugmented; target: (n,) their labels.
        """
        log_likelihood = -reduced(per_sample.cce, logits, target, reduction="none")
        self.kept.copy_(log_likelihood.exp() > self.k)

    def extra_repr(self) -> str:
        return f"n={len(self.kept)}, q={self.q:g}, k={self.k:g}"


class ForwardLoss(Criterion):
    """Forward correction with a transition matrix T, -log (T^T f)_y (Eq. 1; Patrini et al. 2017).

    transition: (classes, classes), row i the distribution of the noisy label of class i: numbers from 0, with
    rows that sum to 1.  It is a buffer, of torch's default type, and moves with the module.
    """

    transition: Tensor

    def __init__(self, transition: ArrayLike | Tensor, **conventions: Unpack[Conventions]) -> None:
        super().__init__(**conventions)
        matrix: Any = transition
        # Of torch's default type, as any module is: float64 of NumPy could not move to every device.
        self.register_buffer("transition", torch.as_tensor(matrix, dtype=torch.get_default_dtype()))
        check_transition(self.transition)

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        return per_sample.forward_t(logits, labels, transition=self.transition)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        check_classes(self.transition, logits)
        return super().forward(logits, target)
