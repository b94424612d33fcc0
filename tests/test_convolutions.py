"""Our gradient of a convolution's weights, against torch's own in float64."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.grad import conv2d_weight

from noisybench.models import convolutions
from noisybench.models.convolutions import ByMatrixProduct, Convolution, weight_gradient


@pytest.fixture
def avx2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolutions, "_is_avx2", lambda: True)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Tensor]]:
    """The inputs of the convolutions that go our way."""
    found: list[Tensor] = []
    apply = ByMatrixProduct.apply
    monkeypatch.setattr(ByMatrixProduct, "apply", lambda x, weight: found.append(x) or apply(x, weight))
    yield found


@given(
    n=st.integers(1, 9),
    c_in=st.integers(1, 5),
    c_out=st.integers(1, 5),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    images=st.integers(1, 10),
    layout=st.sampled_from([torch.contiguous_format, torch.channels_last]),
    seed=st.integers(0, 999),
)
def test_the_gradient_of_the_weights(
    n: int,
    c_in: int,
    c_out: int,
    height: int,
    width: int,
    images: int,
    layout: torch.memory_format,
    seed: int,
) -> None:
    """For any number of images at a time, also where the last are fewer."""
    torch.manual_seed(seed)
    x = torch.randn(n, c_in, height, width).contiguous(memory_format=layout)
    outer = torch.randn(n, c_out, height, width).contiguous(memory_format=layout)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolutions, "BLOCK", images * 9 * c_in * height * width)
        ours = weight_gradient(x, outer)
    exact = conv2d_weight(x.double(), (c_out, c_in, 3, 3), outer.double(), padding=1)
    torch.testing.assert_close(ours.double(), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [4, 7])
def test_a_layer_is_torchs_and_no_less_exact(avx2: None, calls: list[Tensor], size: int) -> None:
    torch.manual_seed(0)
    ours = Convolution(64, 96).to(memory_format=torch.channels_last)
    plain = nn.Conv2d(64, 96, 3, padding=1, bias=False)
    plain.load_state_dict(ours.state_dict())
    exact = nn.Conv2d(64, 96, 3, padding=1, bias=False).double()
    exact.load_state_dict(ours.state_dict())
    x, outer = torch.randn(37, 64, size, size), torch.randn(37, 96, size, size)
    gradients = []
    for layer, dtype in ((ours, torch.float32), (plain, torch.float32), (exact, torch.float64)):
        image = x.to(dtype, copy=True, memory_format=torch.channels_last).requires_grad_()
        out = layer(image)
        out.backward(outer.to(dtype))
        assert image.grad is not None and layer.weight.grad is not None
        gradients.append((out.detach(), image.grad, layer.weight.grad))
    assert len(calls) == 1
    for mine, theirs, true in zip(*gradients, strict=True):
        torch.testing.assert_close(mine.double(), true, rtol=1e-4, atol=1e-4)
        assert (mine - true).abs().mean() <= 2 * (theirs - true).abs().mean()


def test_two_backward_passes_have_the_same_bits(avx2: None, calls: list[Tensor]) -> None:
    layer, x = Convolution(64, 64), torch.randn(50, 64, 8, 8)
    first, second = (torch.autograd.grad(layer(x).square().sum(), layer.weight)[0] for _ in range(2))
    assert torch.equal(first, second) and len(calls) == 2


def test_elsewhere_it_is_torchs_own(avx2: None, calls: list[Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = Convolution(64, 8), torch.randn(2, 64, 4, 4)
    plain = nn.Conv2d.forward(layer, x)
    with torch.no_grad():
        assert torch.equal(layer(x), plain)
    for other, image in (
        (Convolution(64, 8, stride=2), x),
        (Convolution(63, 8), x[:, 1:]),
        (Convolution(64, 8).double(), x.double()),
        (Convolution(64, 8).requires_grad_(False), x),
    ):
        other(image)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    monkeypatch.setattr(convolutions, "_is_avx2", lambda: False)
    assert torch.equal(layer(x), plain)
    assert not calls
    monkeypatch.setattr(convolutions, "_is_avx2", lambda: True)
    assert torch.equal(layer(x), plain) and len(calls) == 1


def test_other_weights_for_a_call(avx2: None) -> None:
    layer, x = Convolution(64, 8), torch.randn(2, 64, 4, 4)
    weight = torch.randn_like(layer.weight).requires_grad_()
    functional_call(layer, {"weight": weight}, (x,)).sum().backward()
    assert weight.grad is not None and layer.weight.grad is None
