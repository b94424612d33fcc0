"""Losses: closed forms, limits, bounds and stability.

The contract tests run over the registry: a new loss is tested by existing.
"""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from noisybench.losses import cce, forward_t, lq, mae, per_sample, robust, trunc_lq, unhinged
from noisybench.registry import METHODS

CLASSES = 5
FUNCTIONS = {entry.name: entry.definition for entry in METHODS if not isinstance(entry.definition, type)}
FUNCTIONS["trunc-lq"] = per_sample.trunc_lq
FUNCTIONS["backward-t"] = robust.backward_t
NAMES = list(FUNCTIONS)
# Backward correction weighs losses by an inverse matrix, which has negative entries.
MAY_BE_NEGATIVE = {"backward-t"}


def loss_of(name: str, parameters: Mapping[str, Any] | None = None) -> Callable[..., Tensor]:
    """The function, with these hyper-parameters, which takes a transition matrix where it needs none."""
    function = FUNCTIONS[name]
    takes = inspect.signature(function).parameters

    def loss(logits: Tensor, target: Tensor, **context: Tensor) -> Tensor:
        needed = {key: value for key, value in context.items() if key in takes}
        result: Tensor = function(logits, target, **needed, **(parameters or {}))
        return result

    return loss


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """The tensors are tiny: more threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def uniform_transition(rate: float, classes: int = CLASSES, dtype: torch.dtype = torch.float64) -> Tensor:
    off = torch.full((classes, classes), rate / (classes - 1), dtype=dtype)
    return off.fill_diagonal_(1 - rate)


CONTEXT = {"transition": uniform_transition(0.3)}


def random_batch(n: int = 12, seed: int = 0, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(n, CLASSES, generator=generator, dtype=torch.float64)
    return logits, torch.arange(n) % CLASSES


def logits_of(f: list[float]) -> Tensor:
    """Logits, shape (1, classes), whose softmax is f."""
    return torch.tensor([f], dtype=torch.float64).log()


# Every registered loss


@pytest.mark.parametrize("name", NAMES)
def test_losses_are_per_sample_and_not_negative_but_for_backward_correction(name: str) -> None:
    logits, target = random_batch()
    values = loss_of(name)(logits, target, **CONTEXT)
    assert values.shape == target.shape and values.dtype == torch.float64
    assert name in MAY_BE_NEGATIVE or (values >= 0).all()
    one_by_one = [loss_of(name)(logits[i : i + 1], target[i : i + 1], **CONTEXT) for i in range(len(target))]
    torch.testing.assert_close(values, torch.cat(one_by_one))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    logits, target = random_batch(n=CLASSES, scale=1.0)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss_of(name)(x, target, **CONTEXT), logits)


@pytest.mark.parametrize("name", NAMES)
def test_a_shift_of_all_logits_changes_nothing(name: str) -> None:
    logits, target = random_batch()
    loss = loss_of(name)
    torch.testing.assert_close(loss(logits + 100, target, **CONTEXT), loss(logits, target, **CONTEXT))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", [False, True])
def test_extreme_logits_are_finite_in_value_and_gradient(
    name: str, dtype: torch.dtype, autocast: bool
) -> None:
    rows = list(product([-1e4, 0.0, 1e4], repeat=3))
    logits = torch.tensor(rows, dtype=dtype).repeat(3, 1).requires_grad_()
    target = torch.arange(3).repeat_interleave(len(rows))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        values = loss_of(name)(logits, target, transition=uniform_transition(0.3, 3))
    values.sum().backward()
    assert values.dtype == torch.float32
    assert values.isfinite().all()
    assert logits.grad is not None and logits.grad.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_autocast_changes_no_value(name: str) -> None:
    logits, target = random_batch()
    logits = logits.float()
    with torch.autocast("cpu", torch.bfloat16):
        inside = loss_of(name)(logits, target, **CONTEXT)
    assert torch.equal(inside, loss_of(name)(logits, target, **CONTEXT))


# Closed forms


def exact_losses(f: mpmath.mpf) -> dict[str, mpmath.mpf]:
    q, k = mpmath.mpf(0.7), mpmath.mpf(0.5)
    return {
        "cce": -mpmath.log(f),
        "mae": 2 - 2 * f,
        "unhinged": 1 - f,
        "lq": (1 - f**q) / q,
        "trunc-lq": (1 - max(f, k) ** q) / q,
    }


@pytest.mark.parametrize("name", ["cce", "mae", "unhinged", "lq", "trunc-lq"])
@pytest.mark.parametrize("gap", [-60.0, -3.0, -1e-3, 0.1, 2.5, 12.0, 30.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 5e-7)])
def test_closed_forms_in_high_precision(name: str, gap: float, dtype: torch.dtype, tolerance: float) -> None:
    logits = torch.tensor([[gap, 0.0]], dtype=dtype)
    with mpmath.workdps(60):
        f = 1 / (1 + mpmath.exp(-mpmath.mpf(logits[0, 0].item())))
        exact = float(exact_losses(f)[name])
    value = loss_of(name)(logits, torch.tensor([0])).item()
    # The log-softmax next to 0 is exact to the spacing of floats next to 1, as is torch's cross entropy.
    assert value == pytest.approx(exact, rel=tolerance, abs=2 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("q", [1e-3, 0.1, 0.7, 1.0])
@pytest.mark.parametrize("k", [0.0, 0.01, 0.5, 1.0])
def test_trunc_lq_is_eq_9_for_any_q_and_k(q: float, k: float) -> None:
    f = [0.005, 0.095, 0.3, 0.6]
    for j, f_j in enumerate(f):
        with mpmath.workdps(60):
            exact = float((1 - max(mpmath.mpf(f_j), mpmath.mpf(k)) ** mpmath.mpf(q)) / mpmath.mpf(q))
        value = trunc_lq(logits_of(f), torch.tensor([j]), q=q, k=k).item()
        assert value == pytest.approx(exact, rel=1e-12)


def test_q_0_is_cce_and_q_1_is_unhinged_exactly() -> None:
    logits, target = random_batch()
    for x in (logits, logits.float()):
        assert torch.equal(lq(x, target, q=0), cce(x, target))
        assert torch.equal(lq(x, target, q=1), unhinged(x, target))
        assert torch.equal(mae(x, target), 2 * unhinged(x, target))
        assert torch.equal(trunc_lq(x, target, q=0.7, k=0), lq(x, target, q=0.7))


@pytest.mark.parametrize("q", [1e-8, 1e-20, 1e-30, 1e-40, 1e-300, 5e-324])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lq_goes_to_cce_as_q_goes_to_0(q: float, dtype: torch.dtype) -> None:
    logits, target = random_batch()
    torch.testing.assert_close(lq(logits.to(dtype), target, q=q), cce(logits.to(dtype), target))


def test_the_gradient_of_lq_is_that_of_cce_weighted_by_f_to_the_q() -> None:
    logits, target = random_batch()
    logits.requires_grad_()
    (of_lq,) = torch.autograd.grad(lq(logits, target, q=0.7).sum(), logits)
    (of_cce,) = torch.autograd.grad(cce(logits, target).sum(), logits)
    weight = logits.detach().softmax(dim=1).gather(1, target[:, None]) ** 0.7
    torch.testing.assert_close(of_lq, weight * of_cce)


@pytest.mark.parametrize("name", ["cce", "mae", "unhinged", "lq", "trunc-lq"])
@pytest.mark.parametrize(
    "q", [0, 5e-324, 1e-40, 1e-30, 2e-30, 1e-8, 1e-3, 0.1, 1 / 3, 0.7, 0.9, 1 - 1e-12, 1]
)
def test_gradients_in_float64_are_exact(name: str, q: float) -> None:
    """For the logits z, -w (1 - f_y) and w f_j with w = f_y^q; 1e-15 is the spacing of 1 - f_y next to 1."""
    parameters = {"lq": {"q": q}, "trunc-lq": {"q": q, "k": 0.3}}.get(name, {})
    rows = [[-60.0, 0, 1], [-745.0, 0, 2], [0.3, -1.2, 2], [5.0, 0, 0], [30.0, 0, 1], [700.0, -700, 1]]
    logits = torch.tensor(rows, dtype=torch.float64, requires_grad=True)
    values = loss_of(name, parameters)(logits, torch.zeros(len(rows), dtype=torch.int64))
    (gradient,) = torch.autograd.grad(values.sum(), logits)
    with mpmath.workdps(60):
        for row, found in zip(rows, gradient.tolist(), strict=True):
            powers = [mpmath.exp(mpmath.mpf(z) - max(row)) for z in row]
            f = [power / sum(powers) for power in powers]
            exponent = {"cce": 0, "mae": 1, "unhinged": 1}.get(name, q)
            w = f[0] ** mpmath.mpf(exponent) * (2 if name == "mae" else 1)
            if name == "trunc-lq" and f[0] <= mpmath.mpf(0.3):
                w = mpmath.mpf(0)
            expected = [float(-w * (f[1] + f[2])), float(w * f[1]), float(w * f[2])]
            assert found == pytest.approx(expected, rel=1e-12, abs=1e-15)


# Bounds on the sum over all classes


def total(f: list[float], name: str, **parameters: float) -> float:
    loss = loss_of(name, parameters)
    return sum(loss(logits_of(f), torch.tensor([j])).item() for j in range(len(f)))


softmax_outputs = st.lists(st.floats(1e-6, 1), min_size=2, max_size=12).map(
    lambda weights: [weight / sum(weights) for weight in weights]
)


@given(f=softmax_outputs, q=st.floats(0.01, 1))
def test_lq_keeps_the_bounds_of_eq_7(f: list[float], q: float) -> None:
    c = len(f)
    assert (c - c * (1 / c) ** q) / q - 1e-9 <= total(f, "lq", q=q) <= (c - 1) / q + 1e-9


@given(f=softmax_outputs, q=st.floats(0.01, 1), k=st.floats(0.5, 1))
def test_trunc_lq_keeps_the_bounds_of_eq_10(f: list[float], q: float, k: float) -> None:
    c, at_k = len(f), (1 - k**q) / q
    assert (c - 1) * at_k - 1e-9 <= total(f, "trunc-lq", q=q, k=k) <= c * at_k + 1e-9


@given(f=softmax_outputs, k=st.floats(0, 0.5))
def test_trunc_lq_keeps_the_bounds_of_eq_10_at_q_1_for_any_k_from_1_over_c(f: list[float], k: float) -> None:
    # Below k = 1/2 the lower bound of Eq. 10 needs a large q: see the next test.
    c = len(f)
    k = max(k, 1 / c)
    assert (c - 1) * (1 - k) - 1e-9 <= total(f, "trunc-lq", q=1, k=k) <= c * (1 - k) + 1e-9


def test_the_lower_bound_of_eq_10_fails_for_small_q_and_k_below_one_half() -> None:
    # The paper claims it for all k >= 1/c.  Here c = 10, k = 0.2 >= 1/c, q = 0.1.
    f = [0.5, 0.5] + [1e-9] * 8
    at_k = (1 - 0.2**0.1) / 0.1
    assert total(f, "trunc-lq", q=0.1, k=0.2) < 9 * at_k - 0.1


# Truncation and pruning


@pytest.mark.parametrize("q", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_trunc_lq_has_no_gradient_up_to_k_and_that_of_lq_above(q: float, dtype: torch.dtype) -> None:
    gaps = torch.tensor([-5.0, -0.1, 0.0, 0.1, 5.0])  # at 0, f is k = 0.5 exactly
    logits = torch.stack([gaps, torch.zeros(5)], dim=1).to(dtype).requires_grad_()
    target = torch.zeros(5, dtype=torch.int64)
    (truncated,) = torch.autograd.grad(trunc_lq(logits, target, q=q, k=0.5).sum(), logits)
    (plain,) = torch.autograd.grad(lq(logits, target, q=q).sum(), logits)
    assert (truncated[:3] == 0).all()
    assert torch.equal(truncated[3:], plain[3:]) and (plain != 0).all()


@given(f=st.floats(0.001, 0.999), q=st.floats(0.01, 1), k=st.floats(0.01, 0.99))
def test_the_minimiser_of_eq_12_is_the_indicator_of_f_above_k(f: float, q: float, k: float) -> None:
    if math.isclose(f, k, rel_tol=1e-6):
        return
    at_f = lq(logits_of([f, 1 - f]), torch.tensor([0]), q=q).item()
    at_k = (1 - k**q) / q
    weights = [i / 10 for i in range(11)]
    best = min(weights, key=lambda w: w * at_f - w * at_k)
    assert best == (f > k)


# Forward correction


def test_forward_with_the_identity_is_cce() -> None:
    logits, target = random_batch()
    torch.testing.assert_close(forward_t(logits, target, transition=torch.eye(CLASSES)), cce(logits, target))


def test_forward_is_minus_log_of_the_noisy_posterior() -> None:
    logits, target = random_batch()
    transition = torch.rand(CLASSES, CLASSES, generator=torch.Generator().manual_seed(1)).double()
    transition /= transition.sum(dim=1, keepdim=True)
    posterior = logits.softmax(dim=1)
    expected = [
        -math.log(sum(transition[i, y].item() * f[i].item() for i in range(CLASSES)))
        for f, y in zip(posterior, target.tolist(), strict=True)
    ]
    values = forward_t(logits, target, transition=transition)
    torch.testing.assert_close(values, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_forward_in_high_precision(scale: float, dtype: torch.dtype, tolerance: float) -> None:
    # Each class is taken for the next one only: at large logits, nothing is left of both in a softmax.
    transition = 0.75 * torch.eye(CLASSES) + 0.25 * torch.eye(CLASSES).roll(1, dims=1)
    logits, target = random_batch(n=22, scale=scale)
    values = forward_t(logits.to(dtype), target, transition=transition)
    with mpmath.workdps(60):
        for row, y, value in zip(logits.to(dtype).tolist(), target.tolist(), values.tolist(), strict=True):
            powers = [mpmath.exp(mpmath.mpf(z)) for z in row]
            given = sum(p * transition[i, y].item() for i, p in enumerate(powers)) / sum(powers)
            assert value == pytest.approx(float(-mpmath.log(given)), rel=tolerance, abs=tolerance)


def test_forward_can_be_differentiated_twice_by_its_matrix_and_by_functions() -> None:
    logits, target = random_batch(n=CLASSES, scale=1.0)
    transition = uniform_transition(0.3).requires_grad_()
    logits.requires_grad_()

    def of(x: Tensor, t: Tensor = CONTEXT["transition"]) -> Tensor:
        return forward_t(x, target, transition=t)

    assert torch.autograd.gradgradcheck(of, logits)
    assert torch.autograd.gradcheck(of, (logits, transition))
    (expected,) = torch.autograd.grad(of(logits).sum(), logits)
    torch.testing.assert_close(torch.func.grad(lambda x: of(x).sum())(logits.detach()), expected)
