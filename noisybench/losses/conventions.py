"""What every public loss accepts: targets, weights and reductions as in `torch.nn.functional.cross_entropy`.

    logits    float, (n, classes), (n, classes, d1, …) or (classes,)
    target    labels: any integer type, (n,), (n, d1, …) or (), from 0 to classes - 1 or `ignore_index`;
              or probabilities: a float type, the shape of the logits.  The loss of a sample with
              probabilities t is Σ_j t_j L_j, where L_j is its loss under label j.
    weight    a factor of each class, (classes,).  A mean over labels is divided by the sum of their weights.

Labels out of range raise InvalidValue on a CPU.  On other devices and in compiled code, where reading the
values would mean to wait or is impossible, torch's own check of indices refuses them.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, ParamSpec, cast

from noisybench.errors import InvalidValue
from noisybench.options import OptionSpec

if TYPE_CHECKING:
    from torch import Tensor

P = ParamSpec("P")

IGNORE_INDEX = -100
REDUCTIONS = ("mean", "sum", "none")
# How far from 1 the sum of a row of a transition matrix may be: rounded entries are fine, as of bfloat16.
ROW_SUM_TOLERANCE = 5e-3


def checked(loss: "Callable[P, Tensor]") -> "Callable[P, Tensor]":
    """A per-sample loss with the conventions of this module and with checks of its hyper-parameters.

    The function returned gives the losses in the shape of the labels, 0 where the label is -100.
    """

    @wraps(loss)
    def function(logits: "Tensor", target: "Tensor", **parameters: Any) -> "Tensor":
        values = checked_parameters(loss, parameters)
        if "transition" in values:
            check_transition(values["transition"])

        # Not functools.partial, which torch.compile cannot trace.
        def bound(rows: "Tensor", labels: "Tensor") -> "Tensor":
            if "transition" in values:
                check_classes(values["transition"], rows)
            return cast("Callable[..., Tensor]", loss)(rows, labels, **values)

        return reduced(bound, logits, target, reduction="none")

    return cast("Callable[P, Tensor]", function)


def checked_parameters(loss: Callable[..., Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with the types that the loss declares; raises InvalidValue out of their bounds."""
    declared = signature(loss).parameters
    return {
        name: OptionSpec.of(declared[name].annotation).read(f"{name} of {loss.__name__}", value)
        if name in declared and declared[name].default is not Parameter.empty
        else value
        for name, value in parameters.items()
    }


def reduced(
    loss: "Callable[[Tensor, Tensor], Tensor]",
    logits: "Tensor",
    target: "Tensor",
    *,
    weight: "Tensor | None" = None,
    ignore_index: int = IGNORE_INDEX,
    reduction: str = "mean",
) -> "Tensor":
    """The losses of any logits and targets above, by a `loss` of logits (n, classes) and labels (n,)
    or (n, k).

    With reduction "none" they have the shape of the labels.  Raises InvalidValue.
    """
    classes = _check_shapes(logits, target)
    if target.is_floating_point() and ignore_index >= 0:
        raise InvalidValue(
            f"target is probabilities, which know no class to ignore, but ignore_index is {ignore_index}."
            " Omit ignore_index, or give labels."
        )
    if weight is not None and weight.shape != (classes,):
        raise InvalidValue(
            f"weight has shape {tuple(weight.shape)}, but must be ({classes},): one per class."
        )
    batch = logits.unsqueeze(0) if logits.dim() == 1 else logits
    rows = _rows(batch)
    if target.is_floating_point():
        shape = logits.shape[:1] + logits.shape[2:] if logits.dim() > 1 else logits.shape[1:]
        losses = _of_probabilities(loss, rows, _rows(target.reshape(batch.shape)), weight)
        divisor = None
    else:
        shape = target.shape
        losses, divisor = _of_labels(loss, rows, target.reshape(-1).long(), weight, ignore_index)
    if reduction == "none":
        return losses.reshape(shape)
    if reduction == "sum":
        return losses.sum()
    return losses.mean() if divisor is None else losses.sum() / divisor


def _rows(values: "Tensor") -> "Tensor":
    """(n, classes, d1, …) as (n·d1·…, classes)."""
    return values if values.dim() == 2 else values.movedim(1, -1).reshape(-1, values.shape[1])


def _check_shapes(logits: "Tensor", target: "Tensor") -> int:
    """The number of classes; raises InvalidValue where the types, devices or shapes do not fit."""
    check_tensor("logits", logits)
    check_tensor("target", target)
    if target.device != logits.device:
        raise InvalidValue(
            f"target is on the device {target.device}, but the logits are on {logits.device}:"
            " type target.to(logits.device)."
        )
    if not logits.is_floating_point() or logits.dim() == 0:
        raise InvalidValue(
            f"logits are {_described(logits)}, but must be a float tensor (n, classes), (n, classes, d1, …)"
            " or (classes,)."
        )
    shape = tuple(logits.shape)
    of_labels = shape[:1] + shape[2:] if len(shape) > 1 else ()
    classes = shape[min(1, len(shape) - 1)]
    if classes == 0:
        raise InvalidValue(f"logits are {_described(logits)}, but there must be at least one class.")
    of_target = tuple(target.shape)
    if target.is_floating_point():
        if of_target == shape:
            return classes
        hint = " Labels must be integers: type target.long()." if of_target == of_labels else ""
        raise InvalidValue(
            f"target is {_described(target)}, and as probabilities of the classes it must have the shape"
            f" of the logits, {shape}.{hint}"
        )
    if str(target.dtype) == "torch.bool" or target.is_complex():
        raise InvalidValue(
            f"target is {_described(target)}, but must be labels of an integer type, or probabilities of a"
            " float type."
        )
    if of_target == of_labels:
        return classes
    if of_target == shape:
        hint = " Probabilities must be of a float type: type target.float()."
    elif of_target == (*of_labels, 1) or (
        len(of_target) > 1 and of_target == (*of_labels[:1], 1, *of_labels[1:])
    ):
        hint = f" Type target.squeeze({-1 if of_target == (*of_labels, 1) else 1})."
    else:
        hint = ""
    raise InvalidValue(
        f"target is {_described(target)}, but for logits of shape {shape} labels must have shape"
        f" {of_labels}.{hint}"
    )


def check_tensor(name: str, value: object) -> None:
    """Raise InvalidValue unless the value is a tensor."""
    import torch

    if not isinstance(value, torch.Tensor):
        raise InvalidValue(
            f"{name} is of type {type(value).__name__}, but must be a tensor: type torch.as_tensor(…)."
        )


def _described(tensor: "Tensor") -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"


def _of_labels(
    loss: "Callable[[Tensor, Tensor], Tensor]",
    rows: "Tensor",
    labels: "Tensor",
    weight: "Tensor | None",
    ignore_index: int,
) -> "tuple[Tensor, Tensor | None]":
    """The losses (n,), and by what their sum is divided in a mean; None for their number."""
    ignored = None
    if not _all_are_classes(labels, rows.shape[1], ignore_index):
        ignored = labels == ignore_index
        # The logits too: whatever the loss of label 0 is, it has no gradient.
        rows, labels = rows.masked_fill(ignored[:, None], 0), labels.masked_fill(ignored, 0)
    losses = loss(rows, labels)
    if weight is None and ignored is None:
        return losses, None
    if weight is None:
        weights = losses.new_ones(labels.shape)
    else:
        weights = weight.to(losses)[labels]
    if ignored is not None:
        losses, weights = losses.masked_fill(ignored, 0), weights.masked_fill(ignored, 0)
    return losses * weights, weights.sum()


def _all_are_classes(labels: "Tensor", classes: int, ignore_index: int) -> bool:
    """Whether no label can be `ignore_index`; raises InvalidValue for one out of range."""
    if not values_can_be_read(labels):
        return False
    if labels.numel() == 0:
        return True
    lowest, highest = (value.item() for value in labels.aminmax())
    if 0 <= lowest and highest < classes:
        return not 0 <= ignore_index < classes
    others = labels[(labels < 0) | (labels >= classes)]
    wrong = others[others != ignore_index]
    if len(wrong):
        raise InvalidValue(
            f"target has the label {wrong[0].item()}, but labels must be from 0 to {classes - 1}, or"
            f" {ignore_index} (ignore_index) for samples to leave out."
        )
    return False


def values_can_be_read(tensor: "Tensor") -> bool:
    """Whether a check may look at the values: at no wait, and outside of compiled and transformed code."""
    import torch

    return (
        tensor.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
    )


def _of_probabilities(
    loss: "Callable[[Tensor, Tensor], Tensor]", rows: "Tensor", target: "Tensor", weight: "Tensor | None"
) -> "Tensor":
    """Σ_j t_j L_j, shape (n,)."""
    import torch

    n, classes = rows.shape
    of_each = loss(rows, torch.arange(classes, device=rows.device).expand(n, classes))
    target = target.to(of_each)
    # A class that is impossible has an infinite loss, and does not count where its probability is 0.
    of_each = of_each.masked_fill(of_each.isinf() & (target == 0), 0)
    return (of_each * target if weight is None else of_each * target * weight.to(of_each)).sum(dim=1)


def check_rows(rows: "Tensor", target: "Tensor", n: int) -> None:
    """Raise InvalidValue unless `rows` are places among n samples, one of each label."""
    check_tensor("rows", rows)
    if rows.is_floating_point() or str(rows.dtype) == "torch.bool" or rows.shape != target.shape:
        raise InvalidValue(
            f"rows are {_described(rows)}, but must be of an integer type and of shape {tuple(target.shape)}."
        )
    if values_can_be_read(rows) and ((rows < 0) | (rows >= n)).any():
        raise InvalidValue(f"rows must be from 0 to {n - 1}: the places of the samples among all {n}.")


def check_transition(transition: "Tensor") -> None:
    """Raise InvalidValue unless `transition` can be a transition matrix.

    That is a matrix (classes, classes) of finite numbers from 0, whose rows sum to 1.
    """
    check_tensor("The transition matrix", transition)
    if transition.is_complex():
        raise InvalidValue("The transition matrix is of complex numbers, but must be of real ones.")
    if transition.dim() != 2 or transition.shape[0] != transition.shape[1] or not len(transition):
        raise InvalidValue(
            f"The transition matrix has shape {tuple(transition.shape)}, but must be (classes, classes)."
        )
    if not values_can_be_read(transition):
        return
    matrix = transition.detach().double()
    if not matrix.isfinite().all():
        raise InvalidValue("The transition matrix has entries that are not finite numbers.")
    if (matrix < 0).any():
        i, y = (matrix < 0).nonzero()[0].tolist()
        raise InvalidValue(
            f"The transition matrix has {matrix[i, y].item():g} in row {i}, column {y}, but no probability is"
            " negative."
        )

    def sum_to(value: float, dim: int) -> bool:
        return bool(((matrix.sum(dim=dim) - value).abs() <= ROW_SUM_TOLERANCE * value).all())

    if sum_to(1, dim=1):
        return
    row = int(((matrix.sum(dim=1) - 1).abs() > ROW_SUM_TOLERANCE).nonzero()[0])
    hint = ""
    if sum_to(1, dim=0):
        hint = " Its columns do: transpose it, so that row i is the distribution of the label of class i."
    elif sum_to(100, dim=1):
        hint = " They sum to 100: divide the percentages by 100."
    raise InvalidValue(
        "The rows of a transition matrix must sum to 1, but"
        f" row {row} of this one sums to {matrix[row].sum().item():.6g}.{hint}"
    )


def check_classes(transition: "Tensor", rows: "Tensor") -> None:
    """Raise InvalidValue if logits (n, classes) have other classes than the transition matrix."""
    if rows.shape[1] != len(transition):
        raise InvalidValue(
            f"The logits have {rows.shape[1]} classes, but the transition matrix is for {len(transition)}."
        )
