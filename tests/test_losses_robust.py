"""The losses of the field against formulas of their papers, written out for one sample in high precision."""

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from mpmath import mpf
from torch import Tensor

from noisybench import losses
from noisybench.errors import InvalidValue
from noisybench.losses import bi_tempered, js, robust

CLASSES = 5
TRANSITION = 0.7 * np.eye(CLASSES) + 0.3 * np.roll(np.eye(CLASSES), 1, axis=1)

Exact = Callable[[list[mpf], int], mpf]


def softmax(z: list[mpf]) -> list[mpf]:
    powers = [mpmath.exp(x) for x in z]
    return [power / sum(powers) for power in powers]


def cross_entropy(p: list[mpf], target: list[mpf]) -> mpf:
    return -sum(t * mpmath.log(x) for t, x in zip(target, p, strict=True) if t)


def label(y: int) -> list[mpf]:
    return [mpf(j == y) for j in range(CLASSES)]


def mixed(a: list[mpf], b: list[mpf], weight: float) -> list[mpf]:
    return [mpf(weight) * x + (1 - mpf(weight)) * z for x, z in zip(a, b, strict=True)]


def reverse(z: list[mpf], y: int) -> mpf:
    return -sum(p * mpmath.log(mpf("1e-4")) for j, p in enumerate(softmax(z)) if j != y)


def focal_loss(z: list[mpf], y: int, gamma: float) -> mpf:
    p = softmax(z)
    others = sum(x for j, x in enumerate(p) if j != y)
    return -(others ** mpf(gamma)) * mpmath.log(p[y])


def normalised(z: list[mpf], y: int, loss: Exact) -> mpf:
    return loss(z, y) / sum(loss(z, j) for j in range(CLASSES))


def cce(z: list[mpf], y: int) -> mpf:
    return -mpmath.log(softmax(z)[y])


def jensen_shannon(z: list[mpf], y: int, pi: float) -> mpf:
    """H(m) - π H(label) - (1 - π) H(f), divided by -(1 - π) log(1 - π)."""

    def entropy(p: list[mpf]) -> mpf:
        return -sum(x * mpmath.log(x) for x in p if x)

    f, rest = softmax(z), 1 - mpf(pi)
    return (entropy(mixed(label(y), f, pi)) - rest * entropy(f)) / (-rest * mpmath.log(rest))


def tempered_softmax(z: list[mpf], t: mpf) -> list[mpf]:
    """By bisection for the λ at which the probabilities sum to 1."""

    def p(shift: mpf) -> list[mpf]:
        return [(1 + (t - 1) * (shift + max(z) - x)) ** (-1 / (t - 1)) for x in z]

    low, high = mpf(0), mpf(100)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(p(middle)) > 1 else (low, middle)
    return p(low)


def bi_tempered_loss(z: list[mpf], y: int, t1: float, t2: float) -> mpf:
    """Eq. of the paper: Σ t (log_t1 t - log_t1 p) - (t^(2 - t1) - p^(2 - t1)) / (2 - t1)."""
    a, p = mpf(t1), tempered_softmax(z, mpf(t2))

    def log_t(x: mpf) -> mpf:
        return (x ** (1 - a) - 1) / (1 - a)

    return sum(
        t * (log_t(mpf(1)) - log_t(x)) - (t ** (2 - a) - x ** (2 - a)) / (2 - a)
        for t, x in zip(label(y), p, strict=True)
    )


def backward(z: list[mpf], y: int) -> mpf:
    inverse = np.linalg.inv(TRANSITION)
    return sum(mpf(inverse[y, j]) * cce(z, j) for j in range(CLASSES))


def ramp_loss(z: list[mpf], y: int, lowest: float = -1) -> mpf:
    margin = z[y] - max(x for j, x in enumerate(z) if j != y)

    def hinge(at: float) -> mpf:
        return max(mpf(0), at - margin)

    return hinge(1) - hinge(lowest)


EXACT: dict[str, tuple[dict[str, Any], Exact]] = {
    "savage": ({}, lambda z, y: (1 - softmax(z)[y]) ** 2),
    "ramp": ({}, ramp_loss),
    "bootstrap_soft": ({}, lambda z, y: cross_entropy(softmax(z), mixed(label(y), softmax(z), 0.95))),
    "bootstrap_hard": (
        {},
        lambda z, y: cross_entropy(softmax(z), mixed(label(y), label(z.index(max(z))), 0.8)),
    ),
    "label_smoothing": (
        {},
        lambda z, y: cross_entropy(softmax(z), mixed(label(y), [mpf(1) / CLASSES] * CLASSES, 0.9)),
    ),
    "focal": ({}, lambda z, y: focal_loss(z, y, 2)),
    "sce": ({}, lambda z, y: mpf(0.1) * cce(z, y) + reverse(z, y)),
    "nce_rce": ({}, lambda z, y: normalised(z, y, cce) + reverse(z, y)),
    "nce_mae": ({}, lambda z, y: normalised(z, y, cce) + 1 - softmax(z)[y]),
    "nfl_mae": (
        {},
        lambda z, y: normalised(z, y, lambda z, y: focal_loss(z, y, 0.5)) + 1 - softmax(z)[y],
    ),
    "taylor_ce": (
        {"order": 6},
        lambda z, y: sum((1 - softmax(z)[y]) ** k / k for k in range(1, 7)),
    ),
    "bi_tempered": ({}, lambda z, y: bi_tempered_loss(z, y, 0.8, 1.2)),
    "js": ({"pi": 0.3}, lambda z, y: jensen_shannon(z, y, 0.3)),
    "agce": (
        {},
        lambda z, y: (mpf(1.6) ** mpf(0.6) - (mpf(0.6) + softmax(z)[y]) ** mpf(0.6)) / mpf(0.6),
    ),
    "aul": ({}, lambda z, y: ((mpf(5.5) - softmax(z)[y]) ** 3 - mpf(4.5) ** 3) / 3),
    "ael": ({}, lambda z, y: mpmath.exp(-softmax(z)[y] / mpf(2.5))),
    "backward_t": ({"transition": torch.tensor(TRANSITION)}, backward),
}


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("scale", [0.1, 3.0, 40.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_losses_are_the_formulas_of_their_papers(
    name: str, scale: float, dtype: torch.dtype, tolerance: float
) -> None:
    parameters, exact = EXACT[name]
    generator = torch.Generator().manual_seed(1)
    logits = (scale * torch.randn(4, CLASSES, generator=generator, dtype=torch.float64)).to(dtype)
    target = torch.tensor([0, 2, 4, int(logits[3].argmax())])
    values = getattr(losses, name)(logits, target, **parameters)
    with mpmath.workdps(60):
        expected = [
            float(exact([mpf(x) for x in row], y))
            for row, y in zip(logits.tolist(), target.tolist(), strict=True)
        ]
    # A difference of losses, as backward correction is, is as exact as these are.
    near = pytest.approx(expected, rel=tolerance, abs=tolerance * max(1, scale))
    assert values.tolist() == near


@pytest.mark.parametrize("name", EXACT)
def test_losses_of_several_labels_are_those_of_each(name: str) -> None:
    parameters, _ = EXACT[name]
    logits = 3 * torch.randn(6, CLASSES, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    labels = torch.arange(CLASSES).expand(6, CLASSES)
    loss = getattr(robust, name)
    together = loss(logits, labels, **parameters)
    for j in range(CLASSES):
        torch.testing.assert_close(together[:, j], loss(logits, labels[:, j], **parameters))


@pytest.mark.parametrize("t2", [1.0, 1.0000001, 1.2, 2.0, 4.0, 10.0])
@pytest.mark.parametrize("t1", [0.0, 0.5, 1.0])
def test_the_bi_tempered_loss_is_finite_and_its_gradient_that_of_finite_differences(
    t1: float, t2: float
) -> None:
    logits = 2 * torch.randn(4, 30, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    target = torch.arange(4)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: bi_tempered(x, target, t1=t1, t2=t2), logits)
    extreme = torch.tensor([[1e30, -1e30, 0.0], [0.0, 0.0, 0.0]]).requires_grad_()
    values = bi_tempered(extreme, torch.tensor([1, 2]), t1=t1, t2=t2)
    (gradient,) = torch.autograd.grad(values.sum(), extreme)
    assert values.isfinite().all() and gradient.isfinite().all()


def test_js_goes_to_cce_and_to_half_of_mae_at_its_ends() -> None:
    """π → 0 and π → 1 of the paper's Proposition 1, where mae counts 1 - f_y twice."""
    logits = torch.randn(5, CLASSES, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    target = torch.arange(5)
    torch.testing.assert_close(js(logits, target, pi=1e-6), losses.cce(logits, target), rtol=1e-4, atol=1e-4)
    near: Tensor = js(logits, target, pi=1 - 1e-6)
    torch.testing.assert_close(near, losses.unhinged(logits, target), rtol=0.2, atol=0.1)


def test_backward_correction_without_an_inverse_is_refused() -> None:
    singular = torch.full((CLASSES, CLASSES), 1 / CLASSES)
    with pytest.raises(InvalidValue, match="inverse"):
        losses.backward_t(torch.zeros(2, CLASSES), torch.tensor([0, 1]), transition=singular)
