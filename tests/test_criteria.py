"""Losses with torch's own conventions: what functions and modules accept, and what they refuse.

At q = 0, L_q is the cross entropy, so torch's own is the reference for all conventions.
"""

import copy
import inspect
import math
import pickle
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from noisybench import losses
from noisybench.errors import InvalidValue
from noisybench.losses import (
    CCELoss,
    ForwardLoss,
    LqLoss,
    MAELoss,
    TruncatedLqLoss,
    UnhingedLoss,
    cce,
    forward_t,
    lq,
    mae,
    trunc_lq,
    unhinged,
)

CLASSES = 5
# A uniform transition matrix, exact in float32 as in float64.
TRANSITION = torch.full((CLASSES, CLASSES), 0.0625).fill_diagonal_(0.75)
Loss = Callable[[Tensor, Tensor], Tensor]
# Each class with the function that gives the same losses per sample.
CRITERIA: dict[str, tuple[Callable[..., nn.Module], Loss]] = {
    "cce": (CCELoss, cce),
    "mae": (MAELoss, mae),
    "unhinged": (UnhingedLoss, unhinged),
    "lq": (partial(LqLoss, q=0.4), partial(lq, q=0.4)),
    "trunc-lq": (partial(TruncatedLqLoss, q=0.4, k=0.3), partial(trunc_lq, q=0.4, k=0.3)),
    "forward-t": (partial(ForwardLoss, TRANSITION), partial(forward_t, transition=TRANSITION)),
}
FUNCTIONS = [pytest.param(function, id=name) for name, (_, function) in CRITERIA.items()]
MODULES = [pytest.param(make, id=name) for name, (make, _) in CRITERIA.items()]
INTEGERS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """The tensors are tiny: more threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def random_batch(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits (n, CLASSES, d1, …) in float64 and labels (n, d1, …) for a shape (n, d1, …)."""
    n, *others = shape or (12,)
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, CLASSES, *others, generator=generator, dtype=torch.float64)
    return logits, torch.randint(CLASSES, (n, *others), generator=generator)


def value_and_gradient(loss: Loss, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits.detach().clone().requires_grad_()
    value = loss(logits, target)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    return value.detach(), gradient


# Classes and functions


@pytest.mark.parametrize("name", CRITERIA)
def test_a_class_reduces_what_its_function_gives(name: str) -> None:
    make, function = CRITERIA[name]
    logits, target = random_batch()
    expected = function(logits, target)
    torch.testing.assert_close(make(reduction="none")(logits, target), expected)
    torch.testing.assert_close(make(reduction="sum")(logits, target), expected.sum())
    torch.testing.assert_close(make(reduction="mean")(logits, target), expected.mean())
    torch.testing.assert_close(make()(logits, target), expected.mean())


@pytest.mark.parametrize("make", MODULES)
def test_criteria_can_be_copied_and_pickled(make: Callable[..., nn.Module]) -> None:
    logits, target = random_batch()
    criterion = make(weight=torch.arange(1.0, CLASSES + 1))
    for twin in (copy.deepcopy(criterion), pickle.loads(pickle.dumps(criterion))):
        assert torch.equal(twin(logits, target), criterion(logits, target))


def test_the_names_are_those_of_the_module() -> None:
    assert set(losses.__all__) <= {name for name in losses.__all__ if hasattr(losses, name)}
    with pytest.raises(AttributeError, match="NoSuchLoss"):
        _ = losses.NoSuchLoss


def test_repr_gives_the_hyper_parameters() -> None:
    assert repr(LqLoss(q=0.5, reduction="sum")) == "LqLoss(q=0.5, reduction='sum')"


def test_the_transition_matrix_is_a_buffer() -> None:
    criterion = ForwardLoss(TRANSITION.double().numpy())
    assert criterion.transition.dtype == torch.float32
    assert criterion.to(torch.float64).transition.dtype == torch.float64
    other = ForwardLoss(torch.eye(CLASSES))
    other.load_state_dict(criterion.state_dict())
    assert torch.equal(other.transition, TRANSITION)
    assert not list(criterion.parameters())


# As torch's cross entropy, at q = 0


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(12,), (4, 3), (4, 3, 2), (2, 1, 3, 2), (1,)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignore_index", [-100, -1, 2, 255])
@pytest.mark.parametrize("targets", ["labels", "some ignored", "probabilities"])
def test_conventions_are_those_of_cross_entropy(
    reduction: str, shape: tuple[int, ...], weighted: bool, ignore_index: int, targets: str
) -> None:
    logits, target = random_batch(*shape)
    weight = torch.tensor([0.5, 2.0, 0.0, 1.0, 3.0], dtype=torch.float64) if weighted else None
    if targets == "some ignored":
        target.view(-1)[::3] = ignore_index
        target.view(-1)[-1] = 1
    if targets == "probabilities":
        target = random_batch(*shape, seed=1)[0].softmax(dim=1)
    options: dict[str, Any] = {"weight": weight, "reduction": reduction, "ignore_index": ignore_index}
    if targets == "probabilities":
        del options["ignore_index"]
    expected = value_and_gradient(partial(cross_entropy, **options), logits, target)
    for criterion in (LqLoss(q=0, **options), CCELoss(**options)):
        values = value_and_gradient(criterion, logits, target)
        torch.testing.assert_close(values, expected, equal_nan=True)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_sample_without_a_batch_is_as_for_cross_entropy(reduction: str) -> None:
    logits, target = random_batch(1)
    for y in (target[0], torch.tensor([0.1, 0.2, 0.3, 0.4, 0.0], dtype=torch.float64)):
        expected = cross_entropy(logits[0], y, reduction=reduction)
        value = LqLoss(q=0, reduction=reduction)(logits[0], y)
        torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("n", [0, 3])
def test_no_samples_and_none_that_count_are_as_for_cross_entropy(reduction: str, n: int) -> None:
    logits, target = random_batch(3)[0][:n], torch.full((n,), -100)
    expected = cross_entropy(logits, target, reduction=reduction)
    torch.testing.assert_close(LqLoss(q=0, reduction=reduction)(logits, target), expected, equal_nan=True)


@given(
    q=st.floats(0, 1e-6),
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    seed=st.integers(0, 1000),
    ignored=st.sets(st.integers(0, 63)),
)
def test_lq_goes_to_cross_entropy_with_q(q: float, shape: list[int], seed: int, ignored: set[int]) -> None:
    logits, target = random_batch(*shape, seed=seed)
    for i in ignored:
        target.view(-1)[i % target.numel()] = -100
    torch.testing.assert_close(
        LqLoss(q=q)(logits, target), cross_entropy(logits, target), rtol=1e-4, atol=1e-12, equal_nan=True
    )


# Any loss


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_every_integer_type_gives_the_same(function: Loss, dtype: str) -> None:
    logits, target = random_batch()
    assert torch.equal(function(logits, target.to(getattr(torch, dtype))), function(logits, target))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("grad", [False, True])
def test_ignored_samples_have_no_loss_and_no_gradient_whatever_their_logits(
    function: Loss, grad: bool
) -> None:
    logits, target = random_batch()
    target[::3] = -100
    logits[0] = math.nan
    logits.requires_grad_(grad)
    values = function(logits, target)
    kept = target != -100
    assert (values[~kept] == 0).all()
    torch.testing.assert_close(values[kept], function(logits[kept], target[kept]))
    if grad:
        (gradient,) = torch.autograd.grad(values.sum(), logits)
        assert (gradient[~kept] == 0).all() and gradient.isfinite().all()


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("shape", [(6,), (3, 2)])
def test_probabilities_mix_the_losses_of_the_classes(function: Loss, shape: tuple[int, ...]) -> None:
    logits, _ = random_batch(*shape)
    probabilities = random_batch(*shape, seed=1)[0].softmax(dim=1)
    expected = sum(
        probabilities[:, j] * function(logits, torch.full(shape, j, dtype=torch.int64))
        for j in range(CLASSES)
    )
    torch.testing.assert_close(function(logits, probabilities), expected)
    assert torch.autograd.gradcheck(
        lambda x, t: function(x, t), (logits.requires_grad_(), probabilities.requires_grad_())
    )


@pytest.mark.parametrize("function", FUNCTIONS)
def test_certain_probabilities_are_labels(function: Loss) -> None:
    logits, target = random_batch()
    torch.testing.assert_close(
        value_and_gradient(function, logits, one_hot(target, CLASSES).double()),
        value_and_gradient(function, logits, target),
    )


@pytest.mark.parametrize("function", FUNCTIONS)
def test_further_dimensions_are_further_samples(function: Loss) -> None:
    logits, target = random_batch(4, 3, 2)
    rows = logits.permute(0, 2, 3, 1).reshape(-1, CLASSES)
    torch.testing.assert_close(function(logits, target).reshape(-1), function(rows, target.reshape(-1)))


def test_a_class_that_cannot_occur_counts_nothing_where_its_probability_is_0() -> None:
    transition = torch.eye(CLASSES, dtype=torch.float64)
    transition[0] = transition[1]
    logits, _ = random_batch(2)
    probabilities = torch.tensor([[0, 0.25, 0.75, 0, 0], [0.5, 0.5, 0, 0, 0]], dtype=torch.float64)
    possible, impossible = forward_t(logits, probabilities, transition=transition).tolist()
    assert math.isfinite(possible) and impossible == math.inf


# What is refused


def wrong_targets() -> Iterator[tuple[str, Tensor, Tensor, str]]:
    logits, target = random_batch(6)
    yield "a column", logits, target[:, None], r"squeeze\(-1\)"
    yield "a column of one", logits[:1], target[:1, None], r"squeeze\(-1\)"
    yield "whole floats", logits, target.double(), r"target\.long\(\)"
    yield "booleans", logits, target > 0, "bool"
    yield "complex numbers", logits, target.to(torch.complex64), "complex"
    yield "one-hot integers", logits, one_hot(target, CLASSES), r"target\.float\(\)"
    yield "other samples", logits, target[:5], r"\(6,\)"
    yield "other classes", logits, torch.ones(6, CLASSES + 1) / 6, r"\(6, 5\)"
    yield "a label too high", logits, target.index_fill(0, torch.tensor(3), CLASSES), "label 5"
    yield "a negative label", logits, target.index_fill(0, torch.tensor(3), -1), "label -1"
    yield "a label too high for int64", logits, torch.full((6,), 2**64 - 1, dtype=torch.uint64), "label"
    yield "integer logits", logits.long(), target, "float"
    yield "no classes", logits[:, :0], target, "one class"
    yield "a scalar", logits[0, 0], target, "float"
    yield "another device", logits, target.to("meta"), r"target\.to\(logits\.device\)"
    yield "a picture for one row", logits, target.expand(6, 6), r"\(6,\)"
    pixels, of_pixels = random_batch(2, 3)
    yield "an extra dimension", pixels, of_pixels[:, None], r"squeeze\(1\)"


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize(
    ("logits", "target", "match"), [pytest.param(*case[1:], id=case[0]) for case in wrong_targets()]
)
def test_other_targets_are_refused_in_words(
    function: Loss, logits: Tensor, target: Tensor, match: str, grad: bool
) -> None:
    if grad and logits.is_floating_point():
        logits = logits.clone().requires_grad_()
    with pytest.raises(InvalidValue, match=match):
        function(logits, target)


def every_function() -> Iterator[Any]:
    for name in filter(str.islower, losses.__all__):
        function = getattr(losses, name)
        takes = inspect.signature(function).parameters
        yield pytest.param(function, {"transition": TRANSITION} if "transition" in takes else {}, id=name)


@pytest.mark.parametrize(("function", "context"), list(every_function()))
def test_every_public_function_keeps_the_same_rule(
    function: Callable[..., Tensor], context: dict[str, Any]
) -> None:
    loss = partial(function, **context)
    logits, target = random_batch(4, 3)
    values = loss(logits, target)
    assert values.shape == (4, 3) and torch.equal(loss(logits, target.to(torch.uint8)), values)
    ignored = loss(logits, target.index_fill(0, torch.tensor(1), -100))
    torch.testing.assert_close(ignored[[0, 2, 3]], values[[0, 2, 3]])
    assert (ignored[1] == 0).all()
    probabilities = one_hot(target, CLASSES).movedim(-1, 1).double()
    torch.testing.assert_close(loss(logits, probabilities), values)
    for wrong in (
        target[:, None],
        target - CLASSES,
        target + CLASSES,
        target.double(),
        target.tolist(),
        None,
    ):
        with pytest.raises(InvalidValue):
            loss(logits, wrong)
    with pytest.raises(InvalidValue, match="must be a tensor"):
        loss(logits.numpy(), target)


@pytest.mark.parametrize(("function", "context"), list(every_function()))
@pytest.mark.parametrize("value", [-1e9, 1e9, math.nan, math.inf, "x", None, True])
def test_hyper_parameters_of_every_function_are_refused_or_give_finite_losses(
    function: Callable[..., Tensor], context: dict[str, Any], value: Any
) -> None:
    logits, target = random_batch()
    for parameter in set(inspect.signature(function).parameters) - {"logits", "labels", "transition"}:
        try:
            values = function(logits.float(), target, **context, **{parameter: value})
        except InvalidValue:
            continue
        assert values.isfinite().all() and math.isfinite(value)


@pytest.mark.parametrize("q", [1.1, -0.1, -1, math.nan, math.inf, "x", None, True])
def test_a_hyper_parameter_out_of_bounds_is_refused(q: Any) -> None:
    logits, target = random_batch()
    for make in (LqLoss, TruncatedLqLoss, partial(lq, logits, target), partial(trunc_lq, logits, target)):
        with pytest.raises(InvalidValue, match="q of .*, but must be a number, from 0 to 1"):
            make(q=q)
    for make in (TruncatedLqLoss, partial(trunc_lq, logits, target)):
        with pytest.raises(InvalidValue, match="k of .*, but must be a number, from 0 to 1"):
            make(k=2)


def test_other_wrong_arguments_are_refused() -> None:
    logits, target = random_batch()
    with pytest.raises(InvalidValue, match="reduction is 'max', but must be one of mean, sum, none"):
        LqLoss(reduction="max")
    with pytest.raises(InvalidValue, match=r"weight has shape \(4,\), but must be \(5,\)"):
        LqLoss(weight=torch.ones(4))(logits, target)
    with pytest.raises(InvalidValue, match="weight is of type list"):
        LqLoss(weight=[1.0] * CLASSES)  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="ignore_index is 'x'"):
        LqLoss(ignore_index="x")  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="ignore_index is 2"):
        LqLoss(ignore_index=2)(logits, logits.softmax(dim=1))


ROWS = np.array([[0.6, 0.3, 0.1], [0.2, 0.8, 0.0], [0.0, 0.5, 0.5]])


@pytest.mark.parametrize(
    ("matrix", "match"),
    [
        (ROWS.T, "transpose"),
        (100 * ROWS, "divide the percentages by 100"),
        (0.9 * ROWS, "row 0 of this one sums to 0.9"),
        (2 * ROWS, "sums to 2"),
        (ROWS - [[0, 0, 0.2], [0, 0, -0.2], [0, 0, 0]], "-0.1 in row 0, column 2"),
        (np.where(ROWS == 0, np.nan, ROWS), "finite"),
        (np.where(ROWS == 0, np.inf, ROWS), "finite"),
        (ROWS[:2], r"\(2, 3\)"),
        (ROWS[0], r"\(3,\)"),
        (ROWS[:0, :0], r"\(0, 0\)"),
        (np.eye(CLASSES + 1), "5 classes"),
        (np.eye(1), "5 classes"),
    ],
)
def test_what_is_no_transition_matrix_of_the_classes_is_refused(matrix: Any, match: str) -> None:
    logits, target = random_batch()
    with pytest.raises(InvalidValue, match=match):
        ForwardLoss(matrix)(logits, target)
    with pytest.raises(InvalidValue, match=match):
        forward_t(logits, target, transition=torch.tensor(matrix))


@pytest.mark.parametrize(
    "matrix", [None, "x", [[1.0, 0.0], [1.0]], torch.eye(CLASSES, dtype=torch.complex64)]
)
def test_what_is_no_matrix_of_real_numbers_is_refused(matrix: Any) -> None:
    with pytest.raises(InvalidValue, match="transition matrix"):
        ForwardLoss(matrix)
    with pytest.raises(InvalidValue, match="transition matrix"):
        forward_t(*random_batch(), transition=matrix)


def test_a_matrix_that_is_loaded_is_checked() -> None:
    given = TRANSITION.clone()
    criterion = ForwardLoss(given)
    with pytest.raises(InvalidValue, match="negative"):
        criterion.load_state_dict({"transition": -TRANSITION})
    assert given.equal(TRANSITION), "the matrix of the caller is its own"


def test_transition_matrices_may_be_rounded() -> None:
    ForwardLoss(np.full((3, 3), 0.333))
    ForwardLoss(torch.tensor(ROWS).bfloat16())


# Training


@pytest.mark.parametrize("make", MODULES)
def test_training_lowers_every_loss(make: Callable[..., nn.Module]) -> None:
    generator = torch.Generator().manual_seed(0)
    centres = 3 * torch.randn(CLASSES, 8, generator=generator)
    target = torch.arange(200) % CLASSES
    x = centres[target] + torch.randn(200, 8, generator=generator)
    model = nn.Linear(8, CLASSES)
    with torch.no_grad():
        model.weight.copy_(centres / 10)  # beyond k for some, so that trunc-lq has a gradient
        model.bias.zero_()
    criterion = make()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    first = criterion(model(x), target).item()
    for _ in range(50):
        optimiser.zero_grad()
        loss = criterion(model(x), target)
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.9 * first
