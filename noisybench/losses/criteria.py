"""The losses as `torch.nn.Module` classes with the arguments of `torch.nn.CrossEntropyLoss`."""

from typing import Any, TypedDict, Unpack, cast

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from noisybench.errors import InvalidValue
from noisybench.losses import per_sample
from noisybench.losses.conventions import (
    IGNORE_INDEX,
    REDUCTIONS,
    check_classes,
    check_rows,
    check_tensor,
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
        if not isinstance(ignore_index, int):
            raise InvalidValue(f"ignore_index is {ignore_index!r}, but must be an integer.")
        if weight is not None:
            check_tensor("weight", weight)
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

    n: the number of training samples.  q, k: as for `TruncatedLqLoss`.  Warm-up: all samples are kept until
    the first `update`; call it from some epoch on, every few epochs, with the outputs of the network in
    training or, as the paper does, of the best so far.  Which samples are kept is a buffer, `kept` (n,) bool,
    and so part of the state_dict.  Under DistributedDataParallel each process divides by the number of kept
    samples in its own batch.

        for epoch in range(1, 21):
            for rows in torch.randperm(n).split(32):
                optimiser.zero_grad()
                criterion(model(images[rows]), given[rows], rows).backward()
                optimiser.step()
            if epoch >= 8:
                criterion.update(model(images).detach(), given)
    """

    kept: Tensor

    def __init__(self, n: int, *, q: float = 0.7, k: float = 0.5) -> None:
        super().__init__()
        if not isinstance(n, int) or n < 1:
            raise InvalidValue(f"n is {n!r}, but must be the number of training samples, from 1.")
        values = checked_parameters(per_sample.trunc_lq, {"q": q, "k": k})
        self.q: float = values["q"]
        self.k: float = values["k"]
        self.register_buffer("kept", torch.ones(n, dtype=torch.bool))

    def forward(self, logits: Tensor, target: Tensor, rows: Tensor) -> Tensor:
        """The mean of L_q over the kept samples of a batch, 0 if there is none.

        logits: (b, classes); target: (b,) labels, -100 for samples to ignore; rows: (b,) of an integer type,
        the places of the samples among all n.  Raises InvalidValue.
        """

        def lq(rows: Tensor, labels: Tensor) -> Tensor:
            return per_sample.lq(rows, labels, q=self.q)

        losses = reduced(lq, logits, target, reduction="none")
        _check_one_label_each(target)
        check_rows(rows, target, len(self.kept))
        kept = self.kept.index_select(0, rows.long()) & (target != IGNORE_INDEX)
        return losses.where(kept, 0).sum() / kept.sum().clamp(min=1)

    @torch.no_grad()
    def update(self, logits: Tensor, target: Tensor) -> None:
        """Choose the samples anew: those whose softmax of the label exceeds k (Eq. 12).

        logits: (n, classes) of all training images, unaugmented; target: (n,) their labels.  Raises
        InvalidValue.
        """
        log_likelihood = -reduced(per_sample.cce, logits, target, reduction="none")
        _check_one_label_each(target)
        if len(target) != len(self.kept):
            raise InvalidValue(
                f"target has {len(target)} labels, but there must be {len(self.kept)}: of all n samples."
            )
        self.kept.copy_(log_likelihood.exp() > self.k)

    def extra_repr(self) -> str:
        return f"n={len(self.kept)}, q={self.q:g}, k={self.k:g}"


def _check_one_label_each(target: Tensor) -> None:
    if target.is_floating_point() or target.dim() != 1:
        raise InvalidValue(
            "target is probabilities or has further dimensions, but pruning needs one label of each sample,"
            " (n,)."
        )


class ForwardLoss(Criterion):
    """Forward correction with a transition matrix T, -log (T^T f)_y (Eq. 1; Patrini et al. 2017).

    transition: (classes, classes), row i the distribution of the noisy label of class i: numbers from 0, with
    rows that sum to 1.  It is a buffer, of torch's default type, and moves with the module.
    """

    transition: Tensor

    def __init__(self, transition: ArrayLike | Tensor, **conventions: Unpack[Conventions]) -> None:
        super().__init__(**conventions)
        matrix: Any = transition
        try:
            matrix = torch.as_tensor(matrix)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InvalidValue(f"The transition matrix is no matrix of numbers: {error}.") from None
        check_transition(matrix)
        # Of torch's default type, as any module is: float64 of NumPy could not move to every device.
        self.register_buffer("transition", matrix.to(torch.get_default_dtype(), copy=True))
        self.register_load_state_dict_post_hook(_check_loaded)  # type: ignore[no-untyped-call]

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        check_classes(self.transition, logits)
        return per_sample.forward_t(logits, labels, transition=self.transition)


def _check_loaded(module: nn.Module, keys: object) -> None:
    check_transition(cast(ForwardLoss, module).transition)
