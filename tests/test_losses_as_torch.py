"""torch's own tests of cross entropy, with our losses at q = 0 and at a tiny q in its place.

torch ships the inputs of its tests: those of the module, its errors, and the samples of the operator.  Label
smoothing is an argument there and a loss of its own here, and is compared apart.  bfloat16 is compared with
torch's float32, in which the losses here compute.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from noisybench import losses
from noisybench.errors import InvalidValue
from noisybench.losses import CCELoss, ForwardLoss, LqLoss, TruncatedLqLoss

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

DTYPES = [torch.float64, torch.float32, torch.bfloat16]
# The losses that are cross entropy, or nearer to it than the numbers compared.
AT_Q_0: dict[str, Callable[..., nn.Module]] = {
    "cce": CCELoss,
    "lq": lambda **options: LqLoss(q=0, **options),
    "lq, tiny q": lambda **options: LqLoss(q=1e-9, **options),
    "lq, tiniest q": lambda **options: LqLoss(q=5e-324, **options),
    "trunc-lq": lambda **options: TruncatedLqLoss(q=0, k=0, **options),
    "forward-t": lambda **options: Forward(**options),
}
Case = tuple[str, Tensor, Tensor, dict[str, Any]]


class Forward(nn.Module):
    """Forward correction with the identity, for logits of any number of classes."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        classes = logits.shape[min(1, logits.dim() - 1)]
        return ForwardLoss(torch.eye(classes), **self.options)(logits, target)  # type: ignore[no-any-return]


@cache
def cases(dtype: torch.dtype) -> list[Case]:
    """What torch tests the module and the operator with."""
    from torch.testing._internal.common_methods_invocations import op_db
    from torch.testing._internal.common_modules import module_inputs_torch_nn_CrossEntropyLoss

    torch.manual_seed(0)
    found: list[Case] = []
    for made in module_inputs_torch_nn_CrossEntropyLoss(None, "cpu", dtype, False, True):
        logits, target = made.forward_input.args
        found.append((made.desc, logits, target, made.constructor_input.kwargs))
    (operator,) = (entry for entry in op_db if entry.name == "nn.functional.cross_entropy")
    for i, sample in enumerate(operator.sample_inputs("cpu", dtype)):
        found.append((f"sample {i}", sample.input, sample.args[0], sample.kwargs))
    return found


def errors() -> Iterator[Case]:
    from torch.testing._internal.common_modules import module_error_inputs_torch_nn_CrossEntropyLoss

    for error in module_error_inputs_torch_nn_CrossEntropyLoss(None, "cpu", torch.float32, False, True):
        made = error.module_error_input
        yield error.error_regex, *made.forward_input.args, made.constructor_input.kwargs


def gradient(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, target: Tensor) -> list[Tensor]:
    """The value, and the gradients by logits and probabilities."""
    leaves = [logits.detach().clone().requires_grad_()]
    if target.is_floating_point():
        leaves.append(target.detach().clone().requires_grad_())
    value = loss(leaves[0], leaves[-1] if target.is_floating_point() else target)
    return [value, *torch.autograd.grad(value.sum(), leaves)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", AT_Q_0)
def test_the_inputs_of_torchs_own_tests_give_cross_entropy(name: str, dtype: torch.dtype) -> None:
    compared = 0
    for what, logits, target, options in cases(dtype):
        if "label_smoothing" in options:
            continue
        exact = torch.float64 if dtype == torch.float64 else torch.float32
        reference = {
            key: value.to(exact) if isinstance(value, Tensor) else value for key, value in options.items()
        }
        theirs = target.to(exact) if target.is_floating_point() else target
        expected = gradient(lambda x, t, o=reference: cross_entropy(x, t, **o), logits.to(exact), theirs)
        found = gradient(AT_Q_0[name](**options), logits, target)
        for ours, other in zip(found, expected, strict=True):
            tolerance = {"rtol": 1e-5, "atol": 1e-6} if ours.dtype != torch.bfloat16 else {}
            assert ours.dtype == other.dtype or ours.dtype == dtype, what
            torch.testing.assert_close(ours, other.to(ours.dtype), **tolerance, equal_nan=True)
        compared += 1
    assert compared >= 50


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_label_smoothing_is_torchs(dtype: torch.dtype) -> None:
    """Per sample and without ignored labels: as an argument it is torch's alone."""
    compared = 0
    for _, logits, target, options in cases(dtype):
        if options.get("label_smoothing") and options.get("ignore_index", -100) < 0:
            smoothing = options["label_smoothing"]
            expected = cross_entropy(logits, target, reduction="none", label_smoothing=smoothing)
            if not target.is_floating_point() or torch.allclose(target.sum(dim=1), target.new_ones(())):
                torch.testing.assert_close(
                    losses.label_smoothing(logits, target, smoothing=smoothing), expected
                )
                compared += 1
    assert compared >= 20


def test_the_errors_of_torchs_own_tests_are_errors_here() -> None:
    refused = 0
    for what, logits, target, options in errors():
        if "label_smoothing" in options:
            continue
        for make in (CCELoss, LqLoss, TruncatedLqLoss):
            with pytest.raises(InvalidValue):
                make(**options)(logits, target)
                pytest.fail(f"accepted, where torch says: {what}")
        refused += 1
    assert refused >= 6


@pytest.mark.parametrize("name", AT_Q_0)
def test_torchs_checks_of_derivatives_hold_for_the_samples_of_its_operator(name: str) -> None:
    for what, logits, target, options in cases(torch.float64):
        if not what.startswith("sample"):
            continue
        criterion = AT_Q_0[name](**options)
        inputs = (logits.clone().requires_grad_(), target)
        assert torch.autograd.gradcheck(criterion, inputs, check_forward_ad=True, check_batched_grad=True)
        assert torch.autograd.gradgradcheck(criterion, inputs)
